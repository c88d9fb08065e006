// The page in a real Chromium: silent and saying so, then sounding once somebody has clicked.
// node sound.js CHROMIUM URL TOKEN: prints `loaded`, then, when an alarm has come, one object.
"use strict";

const { spawn } = require("node:child_process");
const path = require("node:path");
const os = require("node:os");
const fs = require("node:fs");
const WebSocket = require(path.join(__dirname, "../edge_node/node_modules/ws"));

const [chromium, url, token] = process.argv.slice(2);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "davy-page-"));
const browser = spawn(chromium, [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--disable-dev-shm-usage",
  "--autoplay-policy=user-gesture-required", "--remote-debugging-port=0", "--user-data-dir=" + profile, "about:blank",
]);

function end(code) {
  browser.on("exit", () => {
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    process.exit(code);
  });
  browser.kill("SIGKILL");
}

const address = new Promise((found) => {
  let said = "";
  browser.stderr.on("data", (more) => {
    said += more;
    const line = said.match(/DevTools listening on (ws:\/\/\S+)/);
    if (line) found(line[1]);
  });
});

async function main() {
  const socket = new WebSocket(await address);
  await new Promise((open) => socket.on("open", open));
  const waiting = new Map();
  let next = 1;
  socket.on("message", (text) => {
    const told = JSON.parse(text);
    if (waiting.has(told.id)) waiting.get(told.id)(told);
  });
  const ask = (method, params = {}, sessionId) =>
    new Promise((answer, fail) => {
      const id = next++;
      waiting.set(id, (told) => (told.error ? fail(new Error(method + ": " + told.error.message)) : answer(told.result)));
      socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  const { targetId } = await ask("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await ask("Target.attachToTarget", { targetId, flatten: true });
  const page = (method, params) => ask(method, params, sessionId);
  const value = async (expression) => (await page("Runtime.evaluate", { expression, returnByValue: true })).result.value;
  const until = async (expression) => {
    for (let tries = 0; tries < 400; tries++) {
      if (await value(expression)) return;
      await new Promise((again) => setTimeout(again, 50));
    }
    throw new Error("waited in vain: " + expression);
  };
  await page("Network.enable");
  await page("Network.setExtraHTTPHeaders", { headers: { Authorization: "Bearer " + token } });
  await page("Page.enable");
  await page("Page.navigate", { url });
  await until("document.querySelector('#link.live') !== null");
  console.log("loaded");
  await until("document.querySelector('#alarms [data-ack]') !== null");
  const state = `({ says: document.getElementById("mute").checkVisibility(), sound: document.body.dataset.sound,
    sounded: document.body.dataset.sounded || null })`;
  const before = await value(state);
  const at = await value(`(() => { const box = document.querySelector("#mute button").getBoundingClientRect();
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 }; })()`);
  for (const type of ["mousePressed", "mouseReleased"]) {
    await page("Input.dispatchMouseEvent", { type, ...at, button: "left", clickCount: 1 });
  }
  await until("document.body.dataset.sounded !== undefined");
  console.log(JSON.stringify({ before, after: await value(state) }));
}

main().then(
  () => process.stdin.resume().on("end", () => end(0)),
  (cause) => {
    console.error(String(cause));
    end(1);
  },
);
