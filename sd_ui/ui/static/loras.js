// LoRAs that go with the chosen model: search one, choose its weight, and put its tag into the prompt. Names and words are strangers' text: textContent only.
const $ = (selector) => element.querySelector(selector);
const MOST = 60;  // rows at once; a search finds the others
let chosen = "";

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
  made.setAttribute("aria-selected", String(lora.name === chosen));
  made.title = lora.name;
  text.append(part("lp-name", lora.name), part("lp-facts", lora.facts));
  made.append(picture(lora), text);
  made.addEventListener("click", () => {
    chosen = lora.name === chosen ? "" : lora.name;
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
  const value = props.value || { loras: [], others: 0 }, found = matching(value.loras), lora = value.loras.find((each) => each.name === chosen);
  $(".lp").hidden = value.loras.length + value.others === 0;
  $(".lp-count").textContent = value.loras.length ? `${value.loras.length} for this model` : "none for this model";
  $(".lp-search").hidden = value.loras.length < 6;
  $(".lp-list").replaceChildren(...found.slice(0, MOST).map(row));
  $(".lp-chosen").hidden = !lora;
  $(".lp-words").replaceChildren(...(lora ? lora.words : []).map(word));
  const more = found.length > MOST ? [`${found.length - MOST} more match; search to narrow them down.`] : [];
  const others = value.others ? [`${value.others} of your LoRAs ${value.others > 1 ? "do" : "does"} not go with it.`] : [];
  $(".lp-others").textContent = [...more, ...others].join(" ");
}

$(".lp-search").addEventListener("input", update);
$(".lp-range").addEventListener("input", said);
$(".lp-add").addEventListener("click", () => trigger("tag", { name: chosen, weight: Number($(".lp-range").value) }));
watch("value", update);
said();
update();
