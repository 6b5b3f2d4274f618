// Facts of the machine, as rows. Names of models and files are strangers' text: textContent only.
const $ = (selector) => element.querySelector(selector);

function made(tag, name, text = "", ...children) {
  const part = document.createElement(tag);
  part.className = name;
  part.textContent = text;
  part.append(...children);
  return part;
}

function remedy(one) {
  const item = made("li", one.fault ? "sy-item sy-fault" : "sy-item", "", made("strong", "", one.name), document.createTextNode(` ${one.says}`));
  if (one.remedy) item.append(made("span", "sy-remedy", one.remedy));
  return item;
}

function speed(one) {
  return made("li", "sy-speed", "",
    made("span", "sy-rate", one.rate), made("span", "sy-what", `${one.model} · ${one.size}`), made("span", "sy-facts", one.facts));
}

function rows(part) {
  const list = made("dl", "sy-rows");
  for (const [name, says, fault] of part.rows) list.append(made("dt", "", name), made("dd", fault ? "sy-bad" : "", says));
  return made("div", "sy-section", "", made("h3", "sy-title", part.title), list);
}

function group(place, title, items, list) {
  place.replaceChildren(...(items.length ? [made("h3", "sy-title", title), made("ul", list, "", ...items)] : []));
}

function update() {
  const value = props.value || { missing: [], speeds: [], sections: [] };
  $(".sy-wait").hidden = Boolean(props.value);
  const faults = value.missing.some((one) => one.fault);
  group($(".sy-missing"), faults ? "What is wrong" : "What could be better", value.missing.map(remedy), "sy-list");
  group($(".sy-speeds"), "Measured on this machine", value.speeds.map(speed), "sy-list");
  $(".sy-sections").replaceChildren(...value.sections.map(rows));
}

$(".sy-close").addEventListener("click", () => $(".sy").close());
$(".sy").addEventListener("click", (event) => event.target === $(".sy") && $(".sy").close());
$(".sy-again").addEventListener("click", () => trigger("again", {}));
watch("value", update);
update();
