// Models that come from a hub: what would come, how far each one is. Names are strangers' texts: textContent only.
const $ = (selector) => element.querySelector(selector);
const APART = 1000;  // milliseconds between two looks while something comes
const ACTS = { stop: ["Cancel", "What has come is kept"], resume: ["Resume", "Goes on where it was"], discard: ["×", "Take off the list; of an unfinished one, what has come is deleted"] };
const BY_STATE = { waiting: ["stop"], running: ["stop"], stopped: ["resume", "discard"], failed: ["resume", "discard"], done: ["discard"] };
let asked = "", shown = false, coming = new Set();

function part(kind, name, text = "", more = {}) {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return Object.assign(made, more);
}

function press(name, text, title, does) {
  const made = part("button", name, text, { type: "button", title });
  made.addEventListener("click", does);
  return made;
}

function ask(text) {
  asked = text.trim();
  if (!asked) return;
  $(".fh-text").value = asked;
  tell({ kind: "note", text: `Asking ${(props.value || {}).hub || "the hub"} …` });
  offer(null, []);
  trigger("plan", { text: asked });
}

function tell(message) {
  $(".fh-message").textContent = message ? message.text : "";
  $(".fh-message").dataset.kind = message ? message.kind : "";
}

function offer(plan, choices) {
  $(".fh-plan").hidden = !plan;
  $(".fh-said").textContent = plan ? plan.said : "";
  $(".fh-choices").replaceChildren(...choices.map((one) => press("fh-choice", `${one.name} · ${one.size}`, "Look at this file", () => ask(one.text))));
}

function row(one) {
  const made = part("li", "fh-row"), acts = part("div", "fh-acts");
  made.dataset.state = one.state;
  const bar = part("progress", "fh-bar", "", { max: 1, value: one.share });
  bar.setAttribute("aria-label", `How much of ${one.name} has come`);
  acts.append(...BY_STATE[one.state].map((act) => press(`fh-act fh-${act}`, ACTS[act][0], ACTS[act][1], () => trigger("act", { act, key: one.key }))));
  made.append(part("span", "fh-name", one.name), acts, ...(one.state === "done" ? [] : [bar]), part("span", "fh-facts", one.said));
  return made;
}

function update() {
  const value = props.value;
  if (!value) return;
  element.hidden = value.hidden;
  $(".fh-why").hidden = !value.why;
  $(".fh-why").textContent = value.why;
  $(".fh-ask").hidden = !!value.why;
  const active = value.fetches.filter((one) => ["waiting", "running"].includes(one.state));
  $(".fh-count").textContent = active.length ? `· ${active.length} on the way` : "";
  $(".fh-list").replaceChildren(...value.fetches.map(row));
  if (value.answer) { tell(value.message); offer(value.plan, value.choices); }
  if (value.fetches.some((one) => one.state === "done" && coming.has(one.key))) document.querySelector(".lb-again")?.click();
  coming = new Set(active.map((one) => one.key));
}

$(".fh-ask").addEventListener("submit", (event) => { event.preventDefault(); ask($(".fh-text").value); });
$(".fh-begin").addEventListener("click", () => { offer(null, []); tell(null); $(".fh-text").value = ""; trigger("begin", { text: asked }); });
new ResizeObserver(() => {
  const now = $(".fh").getClientRects().length > 0;
  if (now === shown) return;
  shown = now;
  if (shown) trigger("look", {});
}).observe($(".fh"));
setInterval(() => { if (shown && coming.size) trigger("look", {}); }, APART);  // by the clock: an answer that is the same again is no news here
watch("value", update);
update();
