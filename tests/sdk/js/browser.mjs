// Opens a page with browser_app.mjs in Chromium and prints what it returns. Usage: node browser.mjs CHROMIUM, with the SDK's settings.
import http from 'node:http'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(`${process.cwd()}/`) // the packages are in the working directory
const { chromium } = require('playwright-core')

// The template builder of the SDK names modules of Node; a page has none of them.
const withoutNode = {
  name: 'without-node',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: 'node' }))
    build.onLoad({ filter: /.*/, namespace: 'node' }, () => ({ contents: 'module.exports = {}', loader: 'js' }))
  }
}
const bundle = await require('esbuild').build({
  entryPoints: [fileURLToPath(new URL('browser_app.mjs', import.meta.url))],
  nodePaths: [`${process.cwd()}/node_modules`],
  plugins: [withoutNode],
  bundle: true,
  write: false,
  platform: 'browser',
  logLevel: 'error'
})
const page = `<!doctype html><meta charset="utf-8"><script>${bundle.outputFiles[0].text.replaceAll('</script', '<\\/script')}</script>`
const server = http.createServer((req, res) => res.setHeader('Content-Type', 'text/html').end(page))
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox', '--disable-dev-shm-usage'] })
try {
  const tab = await browser.newPage()
  await tab.goto(`http://127.0.0.1:${server.address().port}/`)
  const settings = { apiKey: process.env.E2B_API_KEY, apiUrl: process.env.E2B_API_URL, sandboxUrl: process.env.E2B_SANDBOX_URL }
  console.log((await tab.evaluate((given) => window.application(given), settings)).join('\n'))
} finally {
  await browser.close()
  server.close()
}
