// Publishes with MQTT.js. Job, answer and behaviour are as publish.py's.
const mqtt = require('mqtt')

const job = JSON.parse(process.argv[2])
const five = job.version === 5
const out = { ok: false, connects: [], left: job.messages.length, failed: [], subscribed: [], heard: [] }
const client = mqtt.connect({
  host: job.host,
  port: job.port,
  protocolVersion: job.version,
  clientId: job.client,
  username: job.user,
  password: job.password,
  clean: !job.keep,
  keepalive: job.keepalive ?? 60,
  reconnectPeriod: 200,
  connectTimeout: 5000,
  will: { topic: job.will, payload: 'gone', qos: 1, retain: false },
  ...(five && {
    autoAssignTopicAlias: true, // as many as the server offers: none
    properties: { sessionExpiryInterval: job.keep ? 300 : 0, userProperties: { firmware: '1' } },
  }),
})
const end = () => {
  client.end(!out.ok, {}, () => {
    console.log(JSON.stringify(out))
    process.exit(0)
  })
}
const timer = setTimeout(end, (job.patience ?? 30) * 1000)
client.on('error', (e) => out.connects.push(e.code ?? -1))
client.on('message', (_, payload) => out.heard.push(payload.toString()))
let begun = false
client.on('connect', () => {
  out.connects.push(0)
  if (job.subscribe) {
    client.subscribe(job.subscribe, { qos: 1 }, (e, granted) => out.subscribed.push(String(granted?.[0]?.qos ?? e)))
  }
  if (begun) return
  begun = true
  const done = () => {
    if (--out.left > 0) return
    clearTimeout(timer)
    out.ok = true
    setTimeout(end, (job.linger ?? 0) * 1000)
  }
  for (const m of job.messages) {
    client.publish(m.topic, m.payload, { qos: m.qos }, (e) => {
      if (e) out.failed.push(e.code ?? String(e))
      done()
    })
  }
  if (job.messages.length === 0) {
    out.left = 1
    done()
  }
})
