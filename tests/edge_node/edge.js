// A Sparkplug B edge node with one device, made of the library that sites use; driven by a test.
//
//   node edge.js mqtt://127.0.0.1:1883 group node
//
// In come commands, one a line: "data 1.5" (a live value by alias), "past 1.5" (a back-filled one), "fault"
// (a value that the device calls bad), "null", "gap" (a message is lost on the way), "bye" (the device's
// death). Out goes "birth" for every birth sequence and "asked" for every rebirth request.
'use strict';

const { newClient } = require('sparkplug-client');

const [serverUrl, groupId, edgeNode] = process.argv.slice(2);
const DEVICE = 'substation';
let value = 0.25;

const client = newClient({
  serverUrl, groupId, edgeNode, clientId: `edge-${edgeNode}`, username: '', password: '', publishDeath: true,
  mqttOptions: { reconnectPeriod: 200 },
});

function quality(code) {
  return { Quality: { type: 'Int32', value: code } };
}

function send(metric, age = 0) {
  const timestamp = Date.now() - age;
  client.publishDeviceData(DEVICE, { timestamp: Date.now(), metrics: [{ alias: 7, timestamp, type: 'Double', ...metric }] });
}

function birth() {
  const timestamp = Date.now();
  client.publishNodeBirth({
    timestamp,
    metrics: [
      { name: 'Node Control/Rebirth', type: 'Boolean', value: false },
      { name: 'Supply', alias: 1, timestamp, type: 'Float', value: 23.9 },
    ],
  });
  client.publishDeviceBirth(DEVICE, {
    timestamp,
    metrics: [{ name: 'Gas/CH4', alias: 7, timestamp, type: 'Double', value, properties: quality(192) }],
  }, { compress: true });
  console.log('birth');
}

const commands = {
  data(text) {
    value = Number(text);
    send({ value });
  },
  past(text) {
    send({ value: Number(text), isHistorical: true }, 60_000);
  },
  fault() {
    send({ value, properties: quality(0) });
  },
  null() {
    send({ value: null });
  },
  gap() {
    client.incrementSeqNum();
  },
  bye() {
    client.publishDeviceDeath(DEVICE, { timestamp: Date.now() });
  },
};

client.on('birth', birth);
client.on('ncmd', (payload) => {
  if (payload.metrics.some((metric) => metric.name === 'Node Control/Rebirth' && metric.value === true)) {
    console.log('asked');
    birth();
  }
});
client.on('error', (cause) => console.error(cause));

let rest = '';
process.stdin.on('data', (bytes) => {
  const lines = (rest + bytes).split('\n');
  rest = lines.pop();
  for (const line of lines) {
    const [name, text] = line.split(' ');
    commands[name](text);
  }
});
process.stdin.on('end', () => process.exit(0));
