// Styles: look at them, write one, change, rename or delete one's own. What people wrote is set as textContent and values only.
const $ = (selector) => element.querySelector(selector);
const input = (name) => $(`.st-input[data-name=${name}]`);
const FIELDS = ["name", "prompt", "negative_prompt"], EMPTY = { name: "", prompt: "", negative_prompt: "", own: true, over: false };
let chosen = "", mine = false;  // the style that is open, and whether it is one's own
let writing = false, sent = false;  // a new one, which no answer may take away; whether an answer is awaited

function row(style) {
  const made = document.createElement("button"), kind = document.createElement("span");
  made.type = "button";
  made.className = "st-row";
  made.textContent = style.name;
  kind.className = "st-kind";
  kind.textContent = style.own ? "yours" : "";
  made.append(kind);
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", String(style.name === chosen));
  made.addEventListener("click", () => { writing = false; show(style); said(null); });
  return made;
}

function show(style) {
  [chosen, mine] = [style.name, style.own];
  for (const name of FIELDS) input(name).value = style[name];
  const value = props.value, kept = Boolean(style.name), other = style.over ? " One that comes from elsewhere has the same name, and counts again when this one is deleted." : "";
  const own = kept ? `A style of yours.${other}` : "", foreign = "Comes with the program or from a file of yours. Saved here, it becomes a style of your own, and the file stays as it is.";
  $(".st-origin").textContent = !value.editable ? value.why : style.own ? own : foreign;
  $(".st-delete").hidden = !(kept && style.own && value.editable);
  $(".st-use").hidden = !kept;
  $(".st-save").disabled = !value.editable;
  FIELDS.forEach((name) => { input(name).readOnly = !value.editable; });
  for (const one of element.querySelectorAll(".st-row")) one.setAttribute("aria-selected", String(one.firstChild.data === chosen));
}

function said(message) {
  element.querySelectorAll(".st-wrong").forEach((one) => one.classList.remove("st-wrong"));
  Object.assign($(".st-message"), { textContent: message ? message.text : "" }).dataset.kind = message ? message.kind : "";
  const wrong = message && message.field && input(message.field);
  if (wrong) { wrong.classList.add("st-wrong"); wrong.focus(); }
}

function update() {
  const value = props.value;
  if (!value) return;
  $(".st-list").replaceChildren(...value.styles.map(row));
  $(".st-new").hidden = $(".st-present").hidden = !value.editable;
  const refused = value.message && value.message.kind === "error";
  if (!refused && !writing) show(value.styles.find((style) => style.name === value.open) || value.styles[0] || EMPTY);
  if (sent) said(value.message);
  sent = false;
}

function ask(what, more) {
  [writing, sent] = [false, true];
  trigger(what, more);
}

function write(style) {
  writing = true;
  show(style);
  said(null);
  input("name").focus();
}

function present() {  // what stands in the prompt boxes
  const text = (name) => document.querySelector(`#field-${name} textarea`).value;
  write({ ...EMPTY, prompt: text("prompt"), negative_prompt: text("negative_prompt") });
}

const values = () => Object.fromEntries(FIELDS.map((name) => [name, input(name).value]));
$(".st-open").addEventListener("click", () => { writing = false; said(null); $(".st-card").showModal(); trigger("look", {}); });
$(".st-new").addEventListener("click", () => write(EMPTY));
$(".st-present").addEventListener("click", present);
$(".st-form").addEventListener("submit", (event) => { event.preventDefault(); ask("keep", { ...values(), was: mine ? chosen : "" }); });
$(".st-delete").addEventListener("click", () => ask("delete", { name: chosen }));
$(".st-use").addEventListener("click", () => { $(".st-card").close(); trigger("use", { name: chosen }); });
$(".st-close").addEventListener("click", () => $(".st-card").close());
$(".st-card").addEventListener("click", (event) => { if (event.target === $(".st-card")) $(".st-card").close(); });
$(".st").addEventListener("choose", (event) => trigger("use", { name: event.detail }));  // from the list of suggestions
watch("value", update);
update();
