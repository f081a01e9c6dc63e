// Calls that this server does not serve: the SDK must say so in its own way, at once, and nothing may come of it.
import { check, equal, fails, notServed, NOT_SERVED } from './context.mjs'

const NONE = 'i00000000000000000000'

export default {
  async 'fork'(ctx) {
    const sbx = await ctx.shared()
    return notServed(ctx.need(sbx, 'fork')(), 'SandboxError')
  },

  async 'createSnapshot'(ctx) {
    const sbx = await ctx.shared()
    return notServed(ctx.need(sbx, 'createSnapshot')(), 'SandboxError')
  },

  async 'listSnapshots'(ctx) {
    const sbx = await ctx.shared()
    await notServed(ctx.need(ctx.Sandbox, 'listSnapshots')().nextItems(), 'SandboxError')
    return notServed(sbx.listSnapshots().nextItems(), 'SandboxError')
  },

  async 'deleteSnapshot'(ctx) {
    return notServed(ctx.need(ctx.Sandbox, 'deleteSnapshot')('none:default'), 'SandboxError')
  },

  async 'updateNetwork'(ctx) {
    const sbx = await ctx.shared()
    return notServed(ctx.need(sbx, 'updateNetwork')({ denyOut: ['0.0.0.0/0'] }), 'SandboxError')
  },

  async 'getMcpUrl and getMcpToken'(ctx) {
    const sbx = await ctx.shared()
    equal(sbx.getMcpUrl(), `https://${sbx.getHost(50005)}/mcp`, 'address')
    await fails(sbx.getMcpToken(), 'NotFoundError')
    return NOT_SERVED
  },

  async 'Template.build'(ctx) {
    const { Template } = ctx.e2b
    if (!Template?.build) ctx.absent('the client has no templates')
    let template
    try {
      template = Template().fromImage('debian:12').runCmd('true')
    } catch (e) {
      if (ctx.since('2.20.0') || !/Dynamic require/.test(e.message)) throw e
      ctx.fault('its ES module cannot make a template')
    }
    check(Template.toDockerfile(template).includes('RUN true'), 'toDockerfile() is the client alone')
    check((await Template.toJSON(template)).includes('debian:12'), 'toJSON() as well')
    await notServed(Template.build(template, 'sandmux-test'))
    await notServed(Template.buildInBackground(template, 'sandmux-test'))
    return notServed(Template.getBuildStatus({ templateId: NONE, buildId: '00000000-0000-4000-8000-000000000000' }))
  },

  async 'Template.exists'(ctx) {
    const { Template } = ctx.e2b
    if (!Template?.exists) ctx.absent('the client has no templates')
    equal(await Template.exists('base'), true, 'base')
    equal(await Template.aliasExists('base'), true, 'base, by the old name of the call')
    equal(await Template.exists('no-such-template'), false, 'none')
  },

  async 'Template.assignTags, removeTags, getTags'(ctx) {
    const { Template } = ctx.e2b
    if (!Template?.assignTags) ctx.absent('the client has no tags')
    await notServed(Template.assignTags('base:default', 'mine'))
    await notServed(Template.removeTags('base', 'mine'))
    return notServed(Template.getTags('base'))
  },

  async 'Volume'(ctx) {
    const { Volume } = ctx.e2b
    if (!Volume) ctx.absent('the client has no volumes')
    await notServed(Volume.create('mine'), 'VolumeError')
    await notServed(Volume.list(), 'VolumeError')
    await notServed(Volume.getInfo(NONE))
    await notServed(Volume.connect(NONE))
    return notServed(Volume.destroy(NONE))
  },

  async 'Secret'(ctx) {
    const { Secret } = ctx.e2b
    if (!Secret) ctx.absent('the client has no secrets')
    await notServed(Secret.create('mine', 'value'), 'SecretError')
    await notServed(Secret.update('mine', 'value'))
    await notServed(Secret.list().nextItems())
    await notServed(Secret.getInfo('mine'))
    await notServed(Secret.exists('mine'))
    const error = await notServed(Secret.destroy('mine'))
    check(Secret.fill('mine').includes('mine'), 'fill() is the client alone')
    Secret.iamToken({ audience: 'a', tokenType: 'JWT-SVID' })
    return error
  },
}
