// Prompts that one wrote before, the latest first: search them, and a press fills both boxes and the styles. What people wrote is set as textContent only.
const $ = (selector) => element.querySelector(selector);
let typing = 0;

function part(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}

function picture(asked) {
  if (!asked.picture) return part("span", "hs-picture");
  const made = part("img", "hs-picture");
  Object.assign(made, { alt: "", loading: "lazy", src: asked.picture });
  return made;
}

function row(asked) {
  const made = part("button", "hs-row"), text = part("span", "hs-text"), item = part("div", "hs-item");
  made.type = "button";
  text.append(part("span", "hs-prompt", asked.prompt || "(no prompt)"));
  if (asked.negative) text.append(part("span", "hs-negative", `not: ${asked.negative}`));
  text.append(part("span", "hs-when", [new Date(asked.when).toLocaleString(), ...asked.styles].join(" · ")));
  made.append(picture(asked), text);
  made.addEventListener("click", () => take(asked));
  item.setAttribute("role", "listitem");
  item.append(made);
  return item;
}

function take(asked) {
  $(".hs-card").close();
  trigger("take", { job: asked.job });
}

function update() {
  const value = props.value;
  if (!value) return;
  const nothing = value.text ? "No prompt of yours has these words." : "Nothing yet: every prompt that you generate from is listed here.";
  $(".hs-note").textContent = value.asked.length ? "A press fills prompt, negative prompt and styles." : nothing;
  $(".hs-list").replaceChildren(...value.asked.map(row));
}

const ask = () => trigger("find", { text: $(".hs-search").value });
$(".hs-open").addEventListener("click", () => { $(".hs-search").value = ""; $(".hs-card").showModal(); ask(); });
$(".hs-close").addEventListener("click", () => $(".hs-card").close());
$(".hs-card").addEventListener("click", (event) => { if (event.target === $(".hs-card")) $(".hs-card").close(); });
$(".hs-search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(ask, 150); });
$(".hs-search").addEventListener("keydown", (event) => {
  const first = $(".hs-row");
  if (event.key === "Enter" && first) first.click();
  if (event.key === "ArrowDown" && first) { event.preventDefault(); first.focus(); }
});
$(".hs-list").addEventListener("keydown", (event) => {
  const rows = [...element.querySelectorAll(".hs-row")], at = rows.indexOf(document.activeElement);
  const to = { ArrowDown: rows[at + 1], ArrowUp: rows[at - 1] || $(".hs-search") }[event.key];
  if (to) { event.preventDefault(); to.focus(); }
});
watch("value", update);
update();
