// The ledger's filter: by notebook, verdict, source and words. What is chosen stands in the address, so that it can be passed on:
// claims.html#filter?notebook=03&verdict=fails&source=paper&text=noise
document.addEventListener("DOMContentLoaded", () => {
  const kinds = { "What fails": "fails", "What holds under a condition": "holds if", "What holds": "holds" };
  const whose = { "the paper's own sentences": "paper", "the paper as we read it": "reading", "our own findings": "ours" };
  const rows = [];
  for (const heading of document.querySelectorAll("h3")) {
    const [kind, source] = heading.firstChild.textContent.split(": ");
    const section = heading.closest("section");
    if (!(kind in kinds) || !(source in whose)) continue;
    for (const row of section.querySelectorAll("tbody tr")) {
      const link = row.querySelector("a[href*='notebooks/']")?.getAttribute("href");
      const notebook = link?.match(/notebooks\/(\w+)/)?.[1] ?? "";
      rows.push({ row, section, notebook, verdict: kinds[kind], source: whose[source], text: row.textContent.toLowerCase() });
    }
  }
  if (!rows.length) return;

  const form = document.createElement("form");
  form.id = "ledger-filter";
  const fields = {};
  const add = (name, field) => {
    const label = form.appendChild(document.createElement("label"));
    label.append(name + " ", field);
    field.name = name;
    fields[name] = field;
  };
  for (const name of ["notebook", "verdict", "source"]) {
    const select = document.createElement("select");
    const values = [...new Set(rows.map((each) => each[name]))].filter(Boolean).sort();
    select.append(new Option("all", ""), ...values.map((value) => new Option(value.replaceAll("_", " "), value)));
    add(name, select);
  }
  add("text", Object.assign(document.createElement("input"), { type: "search", placeholder: "words" }));
  const count = form.appendChild(document.createElement("output"));
  document.querySelector("article h2").closest("section").before(form);

  const show = () => {
    const words = fields.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const each of rows) {
      const fits = ["notebook", "verdict", "source"].every((name) => !fields[name].value || fields[name].value === each[name]);
      each.row.hidden = !(fits && words.every((word) => each.text.includes(word)));
      shown += !each.row.hidden;
    }
    for (const section of new Set(rows.flatMap((each) => [each.section, each.section.parentElement.closest("section")])))
      section.hidden = rows.some((each) => section.contains(each.row)) && rows.every((each) => each.row.hidden || !section.contains(each.row));
    count.textContent = `${shown} of ${rows.length} claims`;
  };
  const read = () => {
    const [name, query] = location.hash.split("?");
    if (name !== "#filter") {
      show();
      const target = document.querySelector(":target");
      if (!target?.closest("[hidden]")) return;
      for (const field of Object.values(fields)) field.value = ""; // a link to a row that the filter hides: all rows again
      show();
      return target.scrollIntoView();
    }
    const asked = new URLSearchParams(query);
    for (const [key, field] of Object.entries(fields)) {
      const value = asked.get(key) ?? "";
      const options = [...(field.options ?? [])].map((option) => option.value);
      field.value = options.length ? options.find((option) => option === value || (value && option.startsWith(value + "_"))) ?? "" : value;
    }
    show();
    form.scrollIntoView();
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    const chosen = Object.entries(fields).filter(([, field]) => field.value).map(([key, field]) => [key, field.value]);
    history.replaceState(null, "", chosen.length ? "#filter?" + new URLSearchParams(chosen) : location.pathname);
    show();
  });
  addEventListener("hashchange", read);
  read();
});
