// LoRAs and embeddings that go with the chosen model: search one, choose its weight, and put its tag or name into a prompt. Names and words are strangers' text: textContent only.
const $ = (selector) => element.querySelector(selector);
const MOST = 60;  // rows at once; a search finds the others
let chosen = "";  // its key
const NONE = { loras: [], others: 0, embeddings: [], other_embeddings: 0 };

const all = (value) => [
  ...value.loras.map((each) => ({ ...each, kind: "LoRA", key: `lora ${each.name}` })),
  ...value.embeddings.map((each) => ({ ...each, kind: "embedding", key: `embedding ${each.name}` })),
];

function part(name, text, tag = "span") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function picture(lora) {
  if (!lora.preview) return part("lp-picture lp-letter", [...lora.name][0] || "");
  const made = document.createElement("img");
  made.className = "lp-picture";
  made.loading = "lazy";
  made.alt = "";
  made.src = lora.preview;
  made.addEventListener("error", () => made.replaceWith(picture({ ...lora, preview: "" })));
  return made;
}

function row(lora) {
  const made = document.createElement("button"), text = part("lp-text", "");
  made.type = "button";
  made.className = "lp-item";
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", String(lora.key === chosen));
  made.title = lora.name;
  text.append(part("lp-name", lora.name), part("lp-facts", lora.facts));
  made.append(picture(lora), text);
  made.addEventListener("click", () => {
    chosen = lora.key === chosen ? "" : lora.key;
    $(".lp-range").value = lora.weight;  // at which its maker finds it best
    said();
    update();
  });
  return made;
}

function word(text) {
  const made = part("lp-word", text, "button");
  made.type = "button";
  made.title = "Puts this word into the prompt";
  made.addEventListener("click", () => trigger("word", { text }));
  return made;
}

function said() {
  const range = $(".lp-range");
  $(".lp-said").textContent = Number(range.value);
  range.style.setProperty("--at", `${(100 * (range.value - range.min)) / (range.max - range.min)}%`);
}

function matching(loras) {
  const asked = $(".lp-search").value.toLowerCase().split(/\s+/).filter(Boolean);
  return loras.filter((lora) => { const text = [lora.name, ...lora.words].join(" ").toLowerCase(); return asked.every((part) => text.includes(part)); });
}

function update() {
  const value = props.value || NONE, every = all(value), found = matching(every), lora = every.find((each) => each.key === chosen);
  const inversions = value.embeddings.length + value.other_embeddings > 0;
  $(".lp").hidden = every.length + value.others + value.other_embeddings === 0;
  $(".lp-title").textContent = inversions ? "LoRA and embeddings" : "LoRA";
  $(".lp-count").textContent = every.length ? `${every.length} for this model` : "none for this model";
  $(".lp-search").hidden = every.length < 6;
  $(".lp-negative").hidden = !lora || lora.kind !== "embedding";
  $(".lp-list").replaceChildren(...found.slice(0, MOST).map(row));
  $(".lp-chosen").hidden = !lora;
  $(".lp-words").replaceChildren(...(lora ? lora.words : []).map(word));
  const more = found.length > MOST ? [`${found.length - MOST} more match; search to narrow them down.`] : [];
  const others = [["LoRAs", value.others], ["embeddings", value.other_embeddings]].filter(([, count]) => count)
    .map(([kind, count]) => `${count} of your ${kind} ${count > 1 ? "do" : "does"} not go with it.`);
  $(".lp-others").textContent = [...more, ...others].join(" ");
}

$(".lp-search").addEventListener("input", update);
$(".lp-range").addEventListener("input", said);
function add(negative) {
  const one = all(props.value || NONE).find((each) => each.key === chosen), weight = Number($(".lp-range").value);
  if (one) trigger(one.kind === "LoRA" ? "tag" : negative ? "coin_negative" : "coin", { name: one.name, weight });
}

$(".lp-add").addEventListener("click", () => add(false));
$(".lp-negative").addEventListener("click", () => add(true));
watch("value", update);
said();
update();
