// Starts a web server in a sandbox and fetches the page it serves, by the address that a browser would use.
import http from 'node:http'
import { Sandbox } from 'e2b'

const sandbox = await Sandbox.create()
try {
  await sandbox.files.write('site/index.html', '<h1>Made in a sandbox</h1>')
  await sandbox.commands.run('python3 -m http.server 8080 --directory site', { background: true })
  const url = new URL(`http://${sandbox.getHost(8080)}/`)
  for (let i = 0; ; i++) {
    // *.localhost is this machine, though not every resolver knows it
    const status = await new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: url.port, path: '/', headers: { Host: url.host } }, (res) => {
        res.setEncoding('utf8').on('data', (text) => res.statusCode === 200 && console.log(text))
        res.on('end', () => resolve(res.statusCode))
      }).on('error', reject)
    })
    if (status === 200) break
    if (i === 100) throw new Error(`the server does not answer: ${status}`)
    await new Promise((done) => setTimeout(done, 100))
  }
} finally {
  await sandbox.kill()
}
