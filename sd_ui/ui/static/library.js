// Models on a shelf: search, filter, open one, keep notes and settings. Whatever comes from files and people is set as textContent only.
const $ = (selector) => element.querySelector(selector);
const asked = { text: "", kind: "", family: "", starred: false, count: 0, name: "" };
let typing = 0, shown = false;

const ask = (what = "look", more = {}) => trigger(what, { ...asked, ...more });

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

// ---------------------------------------------------------------- the shelf
function picture(card, large = false) {
  const letter = part("span", "lb-picture lb-letter", [...card.title][0] || "");
  letter.setAttribute("aria-hidden", "true");
  if (!card.preview) return letter;
  const made = part("img", "lb-picture", "", { alt: "", loading: large ? "eager" : "lazy", src: card.preview });
  made.addEventListener("error", () => made.replaceWith(letter));
  return made;
}

function tile(card) {
  const made = part("div", card.fault ? "lb-tile lb-bad" : "lb-tile"), text = part("div", "lb-about");
  made.setAttribute("role", "listitem");
  made.dataset.key = JSON.stringify(card);
  const open = press("lb-open", "", card.name, () => { asked.name = card.name; ask(); });
  open.setAttribute("aria-label", `Open ${card.title}`);
  text.append(part("span", "lb-name", card.title), part("span", "lb-facts", [...card.facts, card.hash].filter(Boolean).join(" · ")));
  if (card.fault) text.append(part("span", "lb-fault", card.fault));
  open.append(picture(card), text);
  made.append(open);
  if (card.starred) made.append(part("span", "lb-mark", "★", { title: "Has a star" }));
  return made;
}

function shelf(value) {
  const old = new Map([...$(".lb-grid").children].map((one) => [one.dataset.key, one]));
  $(".lb-grid").replaceChildren(...value.cards.map((card) => old.get(JSON.stringify(card)) || tile(card)));
  const all = value.total === value.every ? `${value.total} models` : `${value.total} of ${value.every} models`;
  $(".lb-count").textContent = value.every ? all : "";
  $(".lb-more").hidden = value.cards.length >= value.total;
}

function filters(value) {
  const kinds = [["", "All"], ...value.kinds], families = [["", "Every family"], ...value.families];
  $(".lb-kinds").hidden = kinds.length < 3;
  $(".lb-kinds").replaceChildren(...kinds.map(([kind, title]) => {
    const made = press("lb-kind", kind ? `${title}s` : title, "", () => { asked.kind = kind; asked.count = 0; filters(value); ask(); });
    made.setAttribute("aria-pressed", String(asked.kind === kind));
    return made;
  }));
  $(".lb-family").hidden = families.length < 3;
  $(".lb-family").replaceChildren(...families.map(([family, title]) => part("option", "", title, { value: family, selected: family === asked.family })));
}

// ---------------------------------------------------------------- one card
function fact([name, value]) {
  const made = part("div", "lb-fact");
  made.append(part("dt", "", name), part("dd", "", value));
  return made;
}

function word(text) {
  return press("lb-word", text, "Puts these words into the prompt", () => trigger("word", { text }));
}

function control(field) {
  if (field.kind === "text") return part("textarea", "lb-input", "", { rows: 2, value: field.value, placeholder: field.usual });
  if (field.kind === "number")
    return part("input", "lb-input", "", { type: "number", min: field.low, max: field.high, step: "any", value: field.value, placeholder: field.usual });
  const made = part("select", "lb-input");
  fill(made, field.choices, field);
  return made;
}

function fill(select, choices, field) {
  const usual = part("option", "", `${field.usual} (usual)`, { value: "" });
  select.replaceChildren(usual, ...choices.map((name) => part("option", "", name, { value: name })));
  select.value = choices.includes(field.value) ? field.value : "";
}

function entry(field) {
  const made = part("label", `lb-field lb-of-${field.kind}`, "", { title: field.help }), input = control(field);
  input.dataset.name = field.name;
  made.append(part("span", "lb-label", field.label), input);
  return made;
}

function settings(card) {
  const made = part("fieldset", "lb-settings");
  made.append(part("legend", "", "Settings it starts with"), ...card.fields.map(entry));
  const sampler = made.querySelector("[data-name=sampler]"), schedule = card.fields.find((field) => field.name === "schedule");
  sampler.addEventListener("change", () => {  // each sampler has its own schedules
    const name = sampler.value || card.fields.find((field) => field.name === "sampler").usual;
    fill(made.querySelector("[data-name=schedule]"), card.schedules[name] || [], { ...schedule, usual: sampler.value ? "Automatic" : schedule.usual, value: "" });
  });
  return made;
}

function said(card) {
  const values = Object.fromEntries([...$(".lb-card").querySelectorAll("[data-name]")].map((input) => [input.dataset.name, input.value]));
  return { name: card.name, notes: $(".lb-notes").value, values };
}

function own(card, editable) {
  const made = part("div", "lb-own"), notes = part("textarea", "lb-notes", "", { rows: 3, value: card.notes, placeholder: "Notes of your own", readOnly: !editable });
  notes.setAttribute("aria-label", "Notes of your own");
  if (card.fields.length) made.append(settings(card));
  made.append(notes);
  if (!editable) made.querySelectorAll(".lb-input").forEach((input) => { input.disabled = true; });
  if (editable) made.append(press("lb-save", "Save", "Keeps notes and settings. An empty field is as usual.", () => ask("keep", said(card))));
  return made;
}

function head(card, editable) {
  const made = part("header", "lb-top"), text = part("div", "lb-titles"), acts = part("div", "lb-acts");
  text.append(part("h3", "lb-title", card.title), part("p", "lb-facts", [...card.facts, card.hash].filter(Boolean).join(" · ")));
  if (card.use) acts.append(press("lb-use", card.use, "", () => { close(); trigger("use", { name: card.name }); }));
  const star = press("lb-starring", card.starred ? "★ Starred" : "☆ Star", "Models with a star come first", () => ask("star", { name: card.name, to: !card.starred }));
  star.setAttribute("aria-pressed", String(card.starred));
  if (editable) acts.append(star);
  text.append(acts);
  made.append(picture(card, true), text, press("lb-close", "×", "Close", close));
  return made;
}

function opened(value) {
  const card = value.detail, made = $(".lb-card"), message = part("p", "lb-message"), facts = part("dl", "lb-known"), words = part("div", "lb-words");
  facts.append(...card.more.map(fact));
  words.append(...card.words.map(word));
  message.setAttribute("role", "status");
  if (value.message) Object.assign(message, { textContent: value.message.text }).dataset.kind = value.message.kind;
  const texts = [card.about, card.theirs].filter(Boolean).map((text) => part("p", "lb-text-block", text));
  made.replaceChildren(head(card, value.editable), ...(card.fault ? [part("p", "lb-fault", `Cannot be used: ${card.fault}`)] : []));
  made.append(...(card.words.length ? [words] : []), ...texts, facts, own(card, value.editable), message);
  const wrong = value.message && value.message.field && made.querySelector(`[data-name="${CSS.escape(value.message.field)}"]`);
  if (wrong) { wrong.classList.add("lb-wrong"); wrong.focus(); }
  if (!made.open) made.showModal();
  if (value.message) message.scrollIntoView({ block: "nearest" });
}

function close() { $(".lb-card").close(); }

// ---------------------------------------------------------------- what happens
function typed() {  // what was entered in the card stays where it was refused
  return [...$(".lb-card").querySelectorAll(".lb-input, .lb-notes")].map((input) => [input.dataset.name || "", input.value]);
}

function update() {
  const value = props.value;
  if (!value) return;
  shelf(value);
  filters(value);
  if (!value.detail || value.detail.name !== asked.name) return;
  const refused = value.message && value.message.kind === "error" && $(".lb-card").open, kept = refused ? typed() : [];
  opened(value);
  for (const [name, text] of kept) {
    const input = name ? $(`.lb-card [data-name="${CSS.escape(name)}"]`) : $(".lb-notes");
    if (input) input.value = text;
  }
}

$(".lb-search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { asked.text = $(".lb-search").value; asked.count = 0; ask(); }, 250); });
$(".lb-family").addEventListener("change", () => { asked.family = $(".lb-family").value; asked.count = 0; ask(); });
$(".lb-more").addEventListener("click", () => { asked.count = props.value.cards.length + 60; ask(); });
$(".lb-again").addEventListener("click", () => { document.querySelector("#refresh")?.click(); ask("again"); });
$(".lb-star").addEventListener("click", () => {
  asked.starred = !asked.starred;
  asked.count = 0;
  $(".lb-star").setAttribute("aria-pressed", String(asked.starred));
  ask();
});
$(".lb-card").addEventListener("close", () => { asked.name = ""; });
$(".lb-card").addEventListener("click", (event) => { if (event.target === $(".lb-card")) close(); });
// Nothing is sent before the tab is opened; while it is open, the page makes room for it.
new ResizeObserver(() => {
  const now = $(".lb").getClientRects().length > 0;
  if (now === shown) return;
  shown = now;
  document.body.classList.toggle("shelf-open", shown);
  if (shown) ask();
}).observe($(".lb"));
watch("value", update);
update();
