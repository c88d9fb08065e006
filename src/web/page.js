// Keeps the page true: values and alarms from the event stream, and a loud word when the stream is cut.
// Everything that comes from outside is put in as text. Alarms are drawn by the gateway (/alarms.html).
"use strict";

const QUIET_MS = 7000; // The gateway pulses every 2 s; after this much silence the screen says that it is blind.
const words = new Map();
for (const data of document.querySelectorAll("#words data")) words.set(data.value, data.textContent);
const lang = document.documentElement.lang;
const site = document.body.dataset.site;
const query = "lang=" + lang + (site ? "&site=" + encodeURIComponent(site) : "");
const rows = new Map();
for (const row of document.querySelectorAll("[data-point]")) rows.set(row.dataset.point, row);

// Points of which an alarm is open.
let alarmed = new Set();

let last = document.body.dataset.after;
let heard = performance.now();
let heardAt = new Date(document.body.dataset.at);
let skew = heardAt - Date.now();
let signedOut = false;
let connected = false;

function clockText(date, seconds) {
  const day = new Date(Date.now() + skew).toDateString() === date.toDateString();
  const options = { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hour12: false };
  if (!day) Object.assign(options, { month: "2-digit", day: "2-digit" });
  return date.toLocaleString(lang === "zh" ? "zh-CN" : "en-GB", options);
}

function localTimes(inside) {
  for (const time of inside.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (!Number.isNaN(date.getTime())) time.textContent = clockText(date, true);
  }
}

// --- values

function stateOf(shown) {
  if (shown.freshness !== "live") return shown.freshness;
  return shown.grade === "bad" || shown.grade === "uncertain" ? shown.grade : "live";
}

function show(shown) {
  for (const place of document.querySelectorAll("[data-now]")) {
    if (place.dataset.now === shown.id) {
      place.textContent = shown.freshness === "live" ? shown.text : words.get(shown.freshness);
    }
  }
  const row = rows.get(shown.id);
  if (!row) return;
  const state = stateOf(shown);
  row.className = alarmed.has(shown.id) ? state + " alarmed" : state;
  row.querySelector(".value").textContent = state === "stale" ? "—" : shown.text;
  const chip = row.querySelector(".chip:not(.over)");
  chip.className = "chip " + state;
  chip.textContent = words.get(state);
  const reasons = shown.reasons.map((reason) => words.get(reason)).filter(Boolean);
  if (state === "stale" && shown.value !== null) reasons.unshift(words.get("last_value") + " " + shown.text);
  row.querySelector(".state small").textContent = reasons.join(" ");
  const time = row.querySelector("time");
  time.dateTime = shown.time || "";
  time.textContent = shown.time ? clockText(new Date(shown.time), true) : "";
}

function markAlarmed() {
  alarmed = new Set(Array.from(document.querySelectorAll("[data-alarmed]"), (data) => data.dataset.alarmed));
  for (const [id, row] of rows) row.classList.toggle("alarmed", alarmed.has(id));
}

// --- alarms: at most two fetches a second, however many change

let drawing = false;
let again = false;

async function drawAlarms() {
  if (drawing) {
    again = true;
    return;
  }
  drawing = true;
  const shown = unsaid.length; // What comes from here on may not be in what is drawn.
  try {
    const answer = await fetch("/alarms.html?" + query, { headers: { "X-Davy": "page" }, cache: "no-store" });
    if (answer.status === 401) signedOut = true;
    if (answer.ok) {
      const drawn = new DOMParser().parseFromString(await answer.text(), "text/html");
      const place = document.getElementById("alarms");
      const focused = document.activeElement && document.activeElement.dataset.ack;
      const acted = document.activeElement && document.activeElement.dataset.act;
      const card = acted && document.activeElement.closest("[data-alarm]").dataset.alarm;
      place.replaceChildren(...drawn.body.childNodes);
      localTimes(place);
      markAlarmed();
      sound();
      sayShown(shown);
      if (card) place.querySelector('[data-alarm="' + CSS.escape(card) + '"] [data-act="' + acted + '"]')?.focus();
      if (focused) place.querySelector('[data-ack="' + CSS.escape(focused) + '"]')?.focus();
    } else {
      again = answer.status >= 500;
    }
  } catch {
    again = true; // The gateway cannot be reached; the banner says so.
  }
  setTimeout(() => {
    drawing = false;
    if (again) {
      again = false;
      drawAlarms();
    }
  }, 500);
}

// --- sound: by the most urgent alarm that nobody has acknowledged; browsers allow none before somebody clicked

const TONES = {
  P1: { every: 1000, loud: 1, beeps: [[988, 0.42], [740, 0.42]] },
  P2: { every: 2500, loud: 0.6, beeps: [[880, 0.25], [880, 0.25]] },
  P3: { every: 6000, loud: 0.35, beeps: [[660, 0.3]] },
  P4: { every: 30000, loud: 0.2, beeps: [[440, 0.25]] },
};
const mute = document.getElementById("mute");
let audio = null;
let sounded = { priority: "", at: -Infinity };

function audible() {
  return audio !== null && audio.state === "running";
}

function beep(tone) {
  let at = audio.currentTime + 0.02;
  for (const [pitch, seconds] of tone.beeps) {
    const voice = audio.createOscillator();
    const volume = audio.createGain();
    voice.type = "square";
    voice.frequency.value = pitch;
    volume.gain.setValueAtTime(tone.loud, at);
    volume.gain.setTargetAtTime(0, at + seconds - 0.03, 0.01); // Without it every end is a click.
    voice.connect(volume).connect(audio.destination);
    voice.start(at);
    voice.stop(at + seconds);
    at += seconds + 0.06;
  }
}

function worstWaiting() {
  const waiting = Array.from(document.querySelectorAll("#alarms [data-ack]"), (button) => button.dataset.priority);
  return waiting.sort()[0] || "";
}

function sound() {
  mute.hidden = audible();
  document.body.dataset.sound = audible() ? "on" : "off";
  const priority = worstWaiting();
  const tone = TONES[priority];
  const due = tone && (priority !== sounded.priority || performance.now() - sounded.at >= tone.every);
  if (!tone) sounded = { priority: "", at: -Infinity };
  if (!due || !audible()) return;
  sounded = { priority, at: performance.now() };
  document.body.dataset.sounded = priority;
  beep(tone);
}

mute.querySelector("button").addEventListener("click", async () => {
  audio = audio || new AudioContext();
  audio.onstatechange = () => {
    listen(); // The gateway knows which consoles sound.
    sound();
  };
  await audio.resume();
  beep(TONES.P4);
  listen();
  sound();
});

// --- what was shown is a receipt of whoever is signed in

let unsaid = [];

async function sayShown(drawn) {
  const changes = unsaid.splice(0, Math.min(drawn, 500));
  if (changes.length === 0) return;
  try {
    const answer = await fetch("/api/v1/events/shown", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Davy": "page" },
      body: JSON.stringify({ changes, sounded: audible() }),
    });
    if (answer.status >= 500) unsaid.unshift(...changes);
  } catch {
    unsaid.unshift(...changes); // Said when the gateway can be reached again.
  }
  unsaid.splice(0, Math.max(0, unsaid.length - 5000));
}

// --- the stream

let stream = null;

function note(event) {
  heard = performance.now();
  connected = true;
  signedOut = false;
  if (event.lastEventId) last = event.lastEventId;
  let data = null;
  try {
    data = JSON.parse(event.data);
  } catch {
    return null;
  }
  if (data.at && event.type !== "alarm") {
    heardAt = new Date(data.at);
    skew = heardAt - Date.now();
  }
  return data;
}

function listen() {
  if (stream) stream.close();
  stream = new EventSource("/api/v1/events?values=true&sound=" + audible() + "&after=" + last + (site ? "&site=" + encodeURIComponent(site) : ""));
  stream.addEventListener("hello", (event) => {
    note(event);
    drawAlarms();
  });
  stream.addEventListener("pulse", note);
  stream.addEventListener("reset", (event) => {
    note(event);
    location.reload();
  });
  stream.addEventListener("alarm", (event) => {
    const change = note(event);
    if (change && (!site || change.alarm.site === site)) unsaid.push(change.id);
    drawAlarms();
  });
  stream.addEventListener("values", (event) => {
    const data = note(event);
    if (data) data.points.forEach(show);
  });
  stream.onerror = () => {
    connected = false;
  };
}

async function retry() {
  // The browser tries again by itself unless it was answered with an error; then nobody does but we.
  if (stream && stream.readyState !== EventSource.CLOSED && performance.now() - heard < 4 * QUIET_MS) return;
  try {
    const answer = await fetch("/api/v1/points?most=1", { cache: "no-store" });
    signedOut = answer.status === 401;
    if (answer.ok) {
      heard = Math.max(heard, performance.now() - 2 * QUIET_MS);
      listen();
    }
  } catch {
    // Still away.
  }
}

function look() {
  const silence = performance.now() - heard;
  const cut = silence > QUIET_MS || signedOut;
  const banner = document.getElementById("cut");
  document.body.classList.toggle("blind", cut);
  banner.hidden = !cut;
  if (cut) {
    banner.querySelector("strong").textContent = words.get(signedOut ? "signed_out" : "cut");
    banner.querySelector("span").textContent =
      words.get("cut_since") + " " + clockText(heardAt, true) + " (" + Math.round(silence / 1000) + " s)";
    banner.querySelector("a").hidden = !signedOut;
  }
  const link = document.getElementById("link");
  const state = cut ? "gone" : connected ? "live" : "trying";
  link.className = "link " + state;
  link.querySelector("span").textContent = words.get(cut ? "stale" : connected ? "live_link" : "connecting");
  document.title = (cut ? "⚠ " : "") + words.get("product");
  const clock = document.getElementById("clock");
  clock.textContent = clockText(cut ? heardAt : new Date(Date.now() + skew), true);
}

// --- acknowledging

const ask = document.getElementById("ask");
const form = ask.querySelector("form");
const trouble = form.querySelector(".trouble");
let asked = null;

function remembered(name) {
  try {
    if (name !== undefined) localStorage.setItem("davy-by", name);
    return localStorage.getItem("davy-by") || "";
  } catch {
    return ""; // Storage is switched off; the name is typed each time.
  }
}

function tell(text) {
  trouble.hidden = !text;
  trouble.textContent = text;
}

document.getElementById("alarms").addEventListener("click", (event) => {
  const button = event.target.closest("[data-ack]");
  if (!button) return;
  const { raises, standing, priority, level, looked } = button.dataset;
  asked = { id: button.dataset.ack, seen: { raises: Number(raises), standing, priority, level, looked } };
  form.querySelector(".about strong").textContent = button.dataset.title;
  form.querySelector(".about span").textContent = button.dataset.place;
  form.elements.by.value = form.elements.by.value || remembered();
  form.elements.comment.value = "";
  tell("");
  ask.showModal();
});

form.querySelector("[value=cancel]").addEventListener("click", () => ask.close());

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const main = form.querySelector(".main");
  main.disabled = true;
  tell(words.get("sending"));
  try {
    const answer = await fetch("/api/v1/alarms/" + encodeURIComponent(asked.id) + "/ack", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Davy": "page" },
      body: JSON.stringify({ ...asked.seen, by: form.elements.by.value, comment: form.elements.comment.value }),
    });
    if (answer.ok) {
      remembered(form.elements.by.value);
      ask.close();
    } else {
      const error = (await answer.json()).error;
      const alarm = error.alarm;
      const by = alarm && alarm.acknowledged ? " (" + alarm.acknowledged.by + ")" : "";
      // Not taken over into `asked`: the person closes this, sees the alarm as it is now, and decides again.
      tell(error.code === "already_acknowledged" ? words.get(error.code) + by : words.get(error.code) || error.message);
    }
  } catch {
    tell(words.get("no_answer"));
  }
  main.disabled = false;
  drawAlarms();
});

// --- setting aside, resetting, and the steps of a case

const act = document.getElementById("act");
const sheet = act.querySelector("form");
const refusal = sheet.querySelector(".trouble");
let acting = null;

function refused(text) {
  refusal.hidden = !text;
  refusal.textContent = text;
}

document.getElementById("alarms").addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const card = button.closest("[data-alarm]");
  const way = button.dataset.act;
  const ofAlarm = ["shelve", "unshelve", "reset"].includes(way);
  const id = ofAlarm ? card.dataset.alarm : card.dataset.case;
  acting = "/api/v1/" + (ofAlarm ? "alarms/" : "cases/") + encodeURIComponent(id) + "/" + way;
  sheet.reset();
  for (const label of sheet.querySelectorAll("[data-for]")) {
    label.hidden = !label.dataset.for.split(" ").includes(way);
    label.querySelector("input, select").disabled = label.hidden; // What is not asked is neither required nor sent.
  }
  sheet.querySelector("h2").textContent = words.get(way);
  sheet.querySelector(".main").textContent = words.get(way);
  sheet.querySelector(".about strong").textContent = card.querySelector("h3").textContent;
  sheet.querySelector(".about span").textContent = ofAlarm ? card.querySelector(".where").innerText : card.dataset.case;
  sheet.elements.by.value = remembered();
  refused("");
  act.showModal();
});

sheet.querySelector("[value=cancel]").addEventListener("click", () => act.close());

sheet.addEventListener("submit", async (event) => {
  event.preventDefault();
  const main = sheet.querySelector(".main");
  const said = Array.from(new FormData(sheet)).filter(([, value]) => value !== "");
  main.disabled = true;
  refused(words.get("sending"));
  try {
    const answer = await fetch(acting, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Davy": "page" },
      body: JSON.stringify(Object.fromEntries(said)),
    });
    if (answer.ok) {
      remembered(sheet.elements.by.value);
      act.close();
    } else {
      refused((await answer.json()).error.message); // Says what is missing, or why it may not be.
    }
  } catch {
    refused(words.get("no_answer"));
  }
  main.disabled = false;
  drawAlarms();
});

// --- the rest

document.querySelector(".choose select").addEventListener("change", (event) => event.target.form.submit());
document.getElementById("odd")?.addEventListener("change", (event) => {
  document.body.classList.toggle("odd-only", event.target.checked);
});

localTimes(document);
markAlarmed();
listen();
look();
setInterval(look, 500);
setInterval(retry, 5000);
sound();
setInterval(sound, 250);
// A fresh look now and then: how long an alarm lasts, and a session that is in use stays alive.
setInterval(drawAlarms, 15000);
