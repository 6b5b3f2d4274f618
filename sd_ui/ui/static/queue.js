// One's own jobs that wait or run. A prompt is a stranger's text: textContent only.
const $ = (selector) => element.querySelector(selector);
const WORDS = { running: "Running", waiting: "Waiting", failed: "Failed" };

function button(text, label, act, job, able = true) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = label;
  made.setAttribute("aria-label", label);
  made.dataset.act = act;
  made.disabled = !able;
  made.addEventListener("click", () => trigger("act", { act, id: job.id }));
  return made;
}

function part(name, text) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}

function row(job, first, last) {
  const item = document.createElement("li");
  item.dataset.id = job.id;
  item.dataset.state = job.state;
  const text = document.createElement("div");
  text.className = "qp-text";
  text.append(part("qp-prompt", job.text), part("qp-facts", job.state === "failed" ? job.note : job.facts));
  item.append(part("qp-state", WORDS[job.state] || job.state), text);
  if (job.state === "waiting") item.append(button("↑", "Move up", "up", job, !first), button("↓", "Move down", "down", job, !last));
  item.append(job.state === "failed" ? button("×", "Take off the list", "dismiss", job) : button("×", "Cancel this job", "cancel", job));
  return item;
}

function update() {
  const jobs = (props.value || { jobs: [] }).jobs, waiting = jobs.filter((job) => job.state === "waiting");
  $(".qp").hidden = jobs.length === 0;
  $(".qp-count").textContent = jobs.length > 1 ? jobs.length : "";
  $(".qp-list").replaceChildren(...jobs.map((job) => row(job, job === waiting[0], job === waiting.at(-1))));
}

watch("value", update);
update();
