"use strict";
// Photos go to POST /label of this server and nowhere else; whatever a name or a reply holds is shown as text.

const AT_ONCE = 4; // requests at a time
const SVG = "http://www.w3.org/2000/svg";
const one = (id) => document.getElementById(id);
const made = (id) => one(id).content.firstElementChild.cloneNode(true);
const cards = one("cards"), status = one("status"), files = one("files"), video = one("video");
const waiting = [];
let about = null, working = 0, asked = 0, done = 0, taken = 0, stop = new AbortController();

async function begin() {
  for (let again = 0; ; again += 1) {
    try {
      const reply = await fetch("/about");
      if (!reply.ok) throw new Error();
      about = await reply.json();
      break;
    } catch {
      status.textContent = "The server does not answer; is it still running?";
      await pause(Math.min(1 + again, 10));
    }
  }
  status.textContent = "";
  const boxed = about.boxed ? " The networks learned from photos cropped to face boxes; expect more errors." : "";
  one("about").textContent = `Labels by ${about.run}. Age bands go by ${about.bands}. Photos go to this server alone, and nothing is kept.${boxed}`;
  askNext();
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

function add(list) {
  for (const file of list) {
    const card = made("card");
    card.querySelector("bdi").textContent = file.name;
    const wait = document.createElement("p");
    wait.className = "waiting";
    wait.textContent = "Waiting …";
    card.querySelector(".said").append(wait);
    cards.prepend(card);
    waiting.push({ file, card, signal: stop.signal });
    asked += 1;
  }
  one("clear").hidden = cards.children.length === 0;
  askNext();
}

function askNext() {
  while (about && waiting.length && working < AT_ONCE) {
    working += 1;
    const next = waiting.shift();
    ask(next).finally(() => {
      working -= 1;
      if (!next.signal.aborted) done += 1;
      askNext();
    });
  }
  if (about && asked) status.textContent = done < asked ? `${done} of ${asked} photos answered` : asked === 1 ? "1 photo answered" : `${asked} photos answered`;
}

async function ask({ file, card, signal }) {
  show(file, card);
  let reply;
  try {
    if (file.size > about.limits.megabytes * 1e6) throw new Error(`it has more than the ${about.limits.megabytes} megabytes that this server takes`);
    reply = await answered(file, signal);
  } catch (problem) {
    reply = { error: problem.message };
  }
  if (!signal.aborted) tell(card, reply);
}

async function answered(file, signal) {
  let content;
  try {
    content = new File([await file.arrayBuffer()], file.name, { type: file.type });
  } catch {
    throw new Error("this browser cannot read it; is it a folder, or gone?");
  }
  const form = new FormData();
  form.append("photo", content, file.name);
  for (let again = 0; ; again += 1) {
    let response, said = null;
    try {
      response = await fetch("/label", { method: "POST", body: form, signal });
    } catch {
      throw new Error("the server does not answer; is it still running?");
    }
    try {
      said = await response.json();
    } catch {
      said = { error: `the server says ${response.status} ${response.statusText}` };
    }
    if (response.status === 503 && again < 20) {
      await pause(Number(response.headers.get("Retry-After") || 1));
      continue;
    }
    if (said.error) throw new Error(said.error);
    return said.photos[0];
  }
}

function show(file, card) {
  const image = document.createElement("img");
  image.alt = file.name;
  image.addEventListener("load", () => { URL.revokeObjectURL(image.src); card.shown = image; frame(card); });
  image.addEventListener("error", () => { URL.revokeObjectURL(image.src); image.remove(); }); // the server may read it
  image.src = URL.createObjectURL(file);
  card.querySelector(".picture").append(image);
}

const ended = (text) => /[.?!]$/.test(text) ? text : `${text}.`;

function tell(card, reply) {
  const said = card.querySelector(".said");
  said.replaceChildren();
  if (reply.error) {
    const told = document.createElement("p");
    told.className = "wrong";
    told.textContent = `No label: ${ended(reply.error)}`;
    said.append(told);
    return;
  }
  card.faces = reply.faces || [];
  const several = card.faces.length > 1;
  for (const face of card.faces.length ? card.faces : [reply]) said.append(faceOf(face, several));
  const notes = [];
  if (reply.faces && !reply.faces.length) notes.push("No face was found; the label takes one for granted.");
  if (several) notes.push("Face 1 counts as the photo's.");
  if (reply.faces_left_out) notes.push(`${reply.faces_left_out} smaller faces are not labelled.`);
  if (reply.cut_short) notes.push("The file ends too early; what is missing was filled.");
  for (const text of notes) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = text;
    said.append(note);
  }
  frame(card);
}

function faceOf(face, several) {
  const section = made("face");
  const years = face.age_years === undefined ? "" : ` (${Math.round(face.age_years)})`;
  section.querySelector("h2").textContent = `${several ? `${face.face + 1}. ` : ""}${about.words[face.mask]}, ${face.gender}, ${face.band}${years}`;
  section.querySelector(".number").textContent = `label ${face.label}`;
  const list = section.querySelector("dl");
  for (const [name, words] of Object.entries(about.words)) share(list, words, face[`mask_${name}`]);
  if (face.gender_female !== undefined) {
    const women = face.gender_female;
    share(list, face.gender, face.gender === "female" ? women : 1 - women);
  }
  if (face.age_years !== undefined) {
    const term = document.createElement("dt"), value = document.createElement("dd");
    term.textContent = "age";
    value.textContent = `${face.age_years.toFixed(0)} years, as predicted`;
    value.className = "wide";
    list.append(term, value);
  }
  return section;
}

function share(list, name, value) {
  if (value === undefined || value === null) return;
  const term = document.createElement("dt"), bar = document.createElement("dd"), told = document.createElement("dd");
  const filled = document.createElement("div");
  filled.style.width = `${100 * value}%`;
  term.textContent = name;
  bar.className = "share";
  bar.append(filled);
  told.className = "value";
  told.textContent = `${(100 * value).toFixed(0)} %`;
  list.append(term, bar, told);
}

function frame(card) {
  const image = card.shown;
  if (!image || !card.faces || !card.faces.length) return;
  const wide = image.naturalWidth, high = image.naturalHeight;
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  for (const face of card.faces) {
    for (const kind of ["edge", ""]) {
      const box = document.createElementNS(SVG, "rect");
      for (const [name, value] of [["x", face.box_x], ["y", face.box_y], ["width", face.box_w], ["height", face.box_h]]) box.setAttribute(name, value);
      box.setAttribute("class", kind);
      drawing.append(box);
    }
    if (card.faces.length > 1) {
      const number = document.createElementNS(SVG, "text"), size = Math.max(high / 16, face.box_h / 5);
      number.setAttribute("x", face.box_x + size / 4);
      number.setAttribute("y", face.box_y + size);
      number.setAttribute("font-size", size);
      number.textContent = face.face + 1;
      drawing.append(number);
    }
  }
  card.querySelector(".picture").append(drawing);
}

one("choose").addEventListener("click", () => files.click());
files.addEventListener("change", () => { add(files.files); files.value = ""; });
one("clear").addEventListener("click", () => {
  stop.abort();
  stop = new AbortController();
  waiting.length = 0;
  asked = done = 0;
  status.textContent = "";
  cards.replaceChildren();
  one("clear").hidden = true;
  one("choose").focus();
});

for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); one("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) one("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => { event.preventDefault(); one("drop").classList.remove("over"); add(event.dataTransfer.files); });

one("camera").addEventListener("click", async () => {
  one("camera").disabled = true;
  try {
    if (!navigator.mediaDevices) throw new Error("a browser gives the camera to pages of this machine and of https alone");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
  } catch (problem) {
    one("camera").disabled = false;
    status.textContent = `The camera cannot be used: ${ended(problem.message)}`;
    return;
  }
  one("live").hidden = false;
  one("take").focus();
});
one("close").addEventListener("click", () => {
  for (const track of video.srcObject.getTracks()) track.stop();
  video.srcObject = null;
  one("live").hidden = true;
  one("camera").disabled = false;
  one("camera").focus();
});
one("take").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  if (!canvas.width) return;
  canvas.getContext("2d").drawImage(video, 0, 0);
  taken += 1;
  const name = `camera ${taken}.jpg`;
  canvas.toBlob((blob) => add([new File([blob], name, { type: "image/jpeg" })]), "image/jpeg", 0.95);
});

begin();
