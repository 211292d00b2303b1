"use strict";
(() => {
  const ASK_MS = 1000;
  const STEP = 50;
  const find = (id) => document.getElementById(id);
  const STATES = { queued: "waiting", running: "being looked at", done: "done", failed: "failed",
    cancelled: "cancelled" };
  const STAGES = { unpack: "unpacking", read: "reading", align: "aligning the earlier scan",
    lungs: "finding the lungs", segment: "marking voxels", group: "grouping candidates",
    classify: "judging candidates", measure: "measuring", opacities: "looking for opacities",
    compare: "comparing", report: "writing the report" };
  const cards = new Map();
  const told = new Map();
  let most = STEP;
  let stopped = false;
  let asks = 0;

  // ---- talking to the server ----

  async function call(method, path, body) {
    const options = { method, headers: {} };
    if (body !== undefined) {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    const answer = await fetch(`/api${path}`, options);
    if (answer.status === 401) { askToken(); throw new Error("a token is needed"); }
    const values = answer.status === 204 ? null : await answer.json();
    if (!answer.ok) throw new Error(words(values));
    return values;
  }

  const words = (values) => [values.error, values.hint].filter(Boolean).join(" – ");

  async function act(promise) {
    try {
      await promise;
      trouble("");
    } catch (error) {
      trouble(error.message);
    }
    refresh();
  }

  function trouble(text) {
    find("trouble").textContent = text;
    find("trouble").hidden = !text;
  }

  function say(text) { find("said").textContent = text; }

  function query(values) {
    const filled = Object.entries(values)
      .filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== "none");
    return new URLSearchParams(filled.map(([key, value]) => [key, String(value)])).toString();
  }

  // ---- signing in ----

  function askToken() {
    stopped = true;
    find("desk").hidden = true;
    find("sign-in").hidden = false;
    find("token").focus();
  }

  find("sign-in").addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ token: find("token").value });
    const answer = await fetch("/api/session", { method: "POST", headers, body });
    find("token").value = "";
    if (!answer.ok) { trouble("That is not the token of this server."); return; }
    trouble("");
    find("sign-in").hidden = true;
    stopped = false;
    refresh();
  });

  find("sign-out").addEventListener("click", async () => {
    await fetch("/api/session", { method: "DELETE" });
    askToken();
  });

  // ---- sending ----

  async function filesIn(entry) {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      return [{ file, name: entry.fullPath.replace(/^\//, "") }];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {  // a reader gives its entries in portions
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) break;
      for (const one of some) found.push(...await filesIn(one));
    }
    return found;
  }

  function send(files) {
    if (!files.length) { trouble("There is no file in what was dropped."); return; }
    const form = new FormData();
    for (const { file, name } of files) form.append("files", file, name);
    const item = document.createElement("li");
    const name = document.createElement("p");
    const bar = document.createElement("progress");
    const stop = document.createElement("button");
    const first = files[0].name.split("/")[0];
    name.textContent = `Sending ${first}${files.length > 1 ? `, ${files.length} files` : ""}`;
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Upload of ${first}`);
    stop.textContent = "Stop";
    stop.type = "button";
    item.append(name, bar, stop);
    find("uploads").append(item);
    const asked = Object.fromEntries(new FormData(find("asked")));
    const request = new XMLHttpRequest();
    const end = (text) => {
      item.remove();
      removeEventListener("beforeunload", warn);
      trouble(text);
      say(text || `${first} is sent.`);
      refresh();
    };
    const warn = (event) => event.preventDefault();
    addEventListener("beforeunload", warn);
    request.upload.onprogress = (event) => {
      bar.value = event.loaded / event.total;
      name.textContent = `Sending ${first}: ${size(event.loaded)} of ${size(event.total)}`;
    };
    request.onload = () => {
      if (request.status === 201) { find("asked").reset(); end(""); return; }
      if (request.status === 401) askToken();
      let text = `the server answered ${request.status}`;
      try { text = words(JSON.parse(request.responseText)); } catch { /* no answer of luna's */ }
      end(`${first}: ${text}`);
    };
    request.onerror = () => end(`${first}: the connection was lost. Is luna serve running?`);
    request.onabort = () => end("");
    stop.addEventListener("click", () => request.abort());
    request.open("POST", `/api/scans?${query(asked)}`);
    request.send(form);
  }

  const drop = find("drop");
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (find("desk").hidden) return;
    // The entries are gone after the first wait.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const files = [];
    try {
      for (const entry of entries) files.push(...await filesIn(entry));
    } catch (error) {
      trouble(`The browser cannot read what was dropped: ${error.message}`);
      return;
    }
    send(files);
  });
  for (const [button, input] of [["pick-files", "files"], ["pick-folder", "folder"]]) {
    find(button).addEventListener("click", () => find(input).click());
    find(input).addEventListener("change", () => {
      send([...find(input).files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
      find(input).value = "";
    });
  }

  // ---- the list ----

  function size(bytes) {
    return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB`
      : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
  }

  function wait(seconds) {
    if (seconds === null) return "";
    if (seconds < 1.5) return "about a second left";
    if (seconds < 100) return `about ${Math.ceil(seconds)} s left`;
    return `about ${Math.ceil(seconds / 60)} min left`;
  }

  function stage(scan) {
    const prior = scan.stage.startsWith("prior ");
    const name = STAGES[prior ? scan.stage.slice(6) : scan.stage] || "starting";
    return prior ? `earlier scan: ${name}` : name;
  }

  function outcome(result) {
    const worst = result.worst;
    const what = [[result.opacities, "opacity", "opacities"], [result.findings, "finding", "findings"]]
      .filter(([count]) => count).map(([count, one, many]) => `${count} ${count === 1 ? one : many}`);
    const largest = worst ? `; the largest ${worst.long_axis_mm.toFixed(1)} × `
      + `${worst.short_axis_mm.toFixed(1)} mm, ${worst.side}, slice ${worst.slice_number}` : "";
    const limited = result.limits.length ? " Limited: luna could not judge all of this scan." : "";
    const none = result.limits.length ? "No nodule in what luna could judge"
      : "Looked at both lungs, and found no nodule";
    return `${what.length ? what.join(" and ") + largest : none}.${limited}`;
  }

  function sentence(scan) {
    if (scan.state === "queued") {
      const before = scan.place === 1 ? "one scan before it" : `${scan.place} scans before it`;
      return ["Waiting", scan.place ? before : "next", wait(scan.seconds_left)].filter(Boolean).join(", ") + ".";
    }
    if (scan.state === "running") {
      if (scan.stopping) return "Stopping after this step.";
      const left = wait(scan.seconds_left) || "time left not known before a first scan is done";
      return `${stage(scan)}, ${left}.`.replace(/^./, (letter) => letter.toUpperCase());
    }
    if (scan.state === "done") return outcome(scan.result);
    if (scan.state === "failed") return `No result: ${scan.error}`;
    return "Cancelled: nobody looked at this scan.";
  }

  function sending(scan) {
    if (scan.sending === "sent") return `Results sent to ${scan.sending_note}.`;
    if (scan.sending !== "wanted" || scan.state !== "done") return "";
    return scan.sending_note ? `Results not sent yet, tried again later: ${scan.sending_note}` : "Sending the results.";
  }

  function cardOf(scan) {
    if (cards.has(scan.id)) return cards.get(scan.id);
    const card = find("card").content.firstElementChild.cloneNode(true);
    const on = (name, heard) => card.querySelector(name).addEventListener("click", heard);
    card.dataset.id = scan.id;
    on(".cancel", () => act(call("POST", `/scans/${scan.id}/cancel`)));
    on(".again", () => act(call("POST", `/scans/${scan.id}/again?${query(card.scan.asked)}`)));
    on(".show-files", () => files(card));
    on(".compare", () => priors(card));
    on(".delete", (event) => {
      const button = event.currentTarget;
      if (button.classList.contains("sure")) {
        act(call("DELETE", `/scans/${scan.id}`));
        return;
      }
      button.classList.add("sure");
      button.textContent = "Delete scan and report for good";
      setTimeout(() => { button.classList.remove("sure"); button.textContent = "Delete"; }, 5000);
    });
    cards.set(scan.id, card);
    return card;
  }

  function put(node, text) { if (node.textContent !== text) node.textContent = text; }

  function show(scan) {
    const card = cardOf(scan);
    const part = (name) => card.querySelector(name);
    card.scan = scan;
    card.className = `scan ${scan.state} ${scan.result ? scan.result.status : ""}`;
    put(part("h3"), scan.patient_name ? `${scan.patient_name} (${scan.label})` : scan.label);
    put(part(".state"), scan.result ? scan.result.status : STATES[scan.state]);
    const facts = [`received ${new Date(scan.received).toLocaleString()}`,
      scan.study_date && `study of ${scan.study_date}`, size(scan.bytes),
      scan.files > 1 && `${scan.files} files`, scan.asked.prior && "compared with an earlier scan",
      scan.asked.guideline !== "none" && scan.asked.guideline];
    put(part(".facts"), facts.filter(Boolean).join(" · "));
    put(part(".words"), sentence(scan));
    const hint = scan.hint || sending(scan);
    put(part(".hint"), hint);
    part(".hint").hidden = !hint;
    const bar = part("progress");
    bar.hidden = scan.state !== "running";
    if (scan.done && scan.total > 1) bar.value = scan.done / scan.total; else bar.removeAttribute("value");
    const is = (...states) => states.includes(scan.state);
    part(".open").hidden = !is("done");
    if (is("done")) part(".open").href = scan.report;
    part(".cancel").hidden = !is("queued", "running") || scan.stopping;
    part(".again").hidden = !is("failed", "cancelled");
    part(".compare").hidden = part(".show-files").hidden = !is("done");
    const before = told.get(scan.id);
    if (before && before !== scan.state && !is("queued")) say(`${scan.label}: ${STATES[scan.state]}. ${is("done", "failed") ? sentence(scan) : ""}`);
    told.set(scan.id, scan.state);
    return card;
  }

  function below(card, button, items) {
    const list = card.querySelector(".below");
    const same = !list.hidden && list.dataset.of === button;
    list.hidden = same;
    list.dataset.of = button;
    card.querySelector(".show-files").setAttribute("aria-expanded", String(!same && button === "files"));
    list.replaceChildren(...items.map((child) => {
      const item = document.createElement("li");
      item.append(child);
      return item;
    }));
  }

  async function files(card) {
    const { id } = card.scan;
    try {
      const { files: names } = await call("GET", `/scans/${id}/files`);
      below(card, "files", names.filter((name) => name !== "report.html").map((name) => {
        const link = document.createElement("a");
        link.href = `/api/scans/${id}/files/${encodeURIComponent(name)}`;
        link.textContent = name;
        return link;
      }));
    } catch (error) { trouble(error.message); }
  }

  async function priors(card) {
    const { id, asked } = card.scan;
    try {
      const { scans } = await call("GET", `/scans/${id}/priors`);
      const items = scans.map((prior) => {
        const button = document.createElement("button");
        const day = prior.study_date || `received ${new Date(prior.received).toLocaleString()}`;
        button.type = "button";
        button.textContent = `with ${prior.label}, ${day}`;
        button.addEventListener("click", () => {
          card.querySelector(".below").hidden = true;
          act(call("POST", `/scans/${id}/again?${query({ ...asked, prior: prior.id })}`));
        });
        return button;
      });
      below(card, "priors", items.length ? items : ["No other scan of this patient is here."]);
    } catch (error) { trouble(error.message); }
  }

  function offer(scans) {
    const select = find("asked").elements.prior;
    if (document.activeElement === select) return;
    const { value } = select;
    const options = scans.filter((scan) => scan.state === "done").map((scan) => {
      const day = scan.study_date || new Date(scan.received).toLocaleDateString();
      return new Option(`${scan.patient_name || scan.label}, ${day}`, scan.id);
    });
    select.replaceChildren(select.options[0], ...options);
    select.value = options.some((option) => option.value === value) ? value : "";
  }

  async function refresh() {
    if (stopped) return;
    asks += 1;
    const ask = asks;
    const search = find("search").value.trim();
    let answer;
    try {
      answer = await call("GET", `/scans?${query({ search, most: most + 1 })}`);
    } catch (error) {
      if (!stopped) trouble(error instanceof TypeError ? "The server does not answer. Is luna serve running?" : error.message);
      return;
    }
    if (ask !== asks) return;  // a later question was answered first, or will be
    if (find("trouble").textContent.startsWith("The server does not answer")) trouble("");
    find("desk").hidden = false;
    const shown = answer.scans.slice(0, most);
    find("more").hidden = answer.scans.length <= most;
    find("empty").hidden = shown.length > 0;
    find("empty").textContent = search ? `No scan has “${search}”.` : "No scan was sent yet.";
    const wanted = shown.map(show);
    const list = find("scans");
    wanted.forEach((card, k) => { if (list.children[k] !== card) list.insertBefore(card, list.children[k] || null); });
    while (list.children.length > wanted.length) list.lastElementChild.remove();
    const ids = new Set(shown.map((scan) => scan.id));
    for (const id of cards.keys()) if (!ids.has(id)) cards.delete(id);
    document.title = answer.waiting ? `luna (${answer.waiting})` : "luna";
    if (!search) offer(shown);
  }

  find("search").addEventListener("input", refresh);
  find("more").addEventListener("click", () => { most += STEP; refresh(); });
  setInterval(refresh, ASK_MS);
  call("GET", "/health").then(({ token }) => { find("sign-out").hidden = !token; }, () => {});
  refresh();
})();
