// Of the portal's catalogue, what is said here (see widget.ts at the root).
import words from "virtual:words";
import { fill } from "../portal/fill";
import { languages } from "../portal/tongues";
import styles from "./widget.css?inline";

// <fettle-unit server="https://fettle.example" unit="WC-000010" lang="de"></fettle-unit>
//
// One unit's condition and the choices its owner has, for a maker's own page or
// app. The token of an owner's app is given as the property `token`, which
// leaves no trace in the page; the attribute of that name is for trying out.
// It speaks the owner API alone: api/owner.yaml.

type Condition = "normal" | "degraded" | "failed" | "silent" | "unknown";
type Choice = "now" | "tonight" | "at" | "not now" | "decline";

type Unit = {
  id: string;
  serial: string;
  productTitle: string;
  condition: Condition;
  about?: string;
  lastSeen?: string;
};

type Update = {
  id: string;
  kind: string;
  title: string;
  reason: string;
  state: string;
  minutes: number;
  at?: string;
  why?: string;
  choices: Choice[];
  progress: { done: number; of: number };
  waiting?: { why: string; words?: string };
};

const marks: Record<Condition, string> = {
  normal: "M4 9l3.2 3.2L12.5 5",
  degraded: "M8 4v5M8 12v.5",
  failed: "M5 5l6 6M11 5l-6 6",
  silent: "M4 8h8",
  unknown: "M5.8 6c.2-2.9 4.6-2.6 4.3.2-.2 1.7-2.1 1.7-2.1 3.5M8 12.400v.3",
};

const over = new Set(["verified", "not judgeable", "expired", "canceled", "superseded", "planned", "blocked"]);
const lively = new Set(["accepted", "retrying", "installing", "claimed"]);
const labels: Partial<Record<Choice, string>> = {
  now: "choice.now",
  tonight: "choice.tonight",
  "not now": "choice.notNow",
  decline: "choice.decline",
};

export class FettleUnit extends HTMLElement {
  static observedAttributes = ["server", "unit", "lang", "token"];

  #token = "";
  #timer = 0;
  #asked = 0;
  #busy = false;
  #declining = "";
  #unit?: Unit;
  #updates: Update[] = [];
  #trouble = "";
  #root = this.attachShadow({ mode: "open" });

  get token(): string {
    return this.#token || this.getAttribute("token") || "";
  }

  set token(value: string) {
    this.#token = value;
    this.refresh();
  }

  connectedCallback(): void {
    this.#root.innerHTML = `<style>${styles}</style><div part="card" class="card"></div><p part="status" role="status"></p>`;
    this.refresh();
  }

  disconnectedCallback(): void {
    clearTimeout(this.#timer);
    this.#asked++;
  }

  attributeChangedCallback(): void {
    if (this.isConnected) this.refresh();
  }

  get #code(): string {
    const wanted = this.getAttribute("lang") || this.closest("[lang]")?.getAttribute("lang") || navigator.language;
    const code = wanted.toLowerCase().split("-")[0] ?? "";
    return languages.includes(code) ? code : "en";
  }

  #t(key: string, values?: Record<string, string | number>): string {
    return fill(words[this.#code]?.[key] ?? key, this.#code, values);
  }

  async #ask<T>(path: string, body?: unknown): Promise<T> {
    const server = (this.getAttribute("server") ?? "").replace(/\/$/, "");
    const response = await fetch(`${server}/owner/v1/${path}`, {
      method: body ? "POST" : "GET",
      // The token says who asks; what this browser holds of the server's cookies does not.
      credentials: "omit",
      headers: {
        Authorization: `Bearer ${this.token}`,
        "Accept-Language": this.#code,
        ...(body ? { "Content-Type": "application/json" } : {}),
      },
      body: body ? JSON.stringify(body) : undefined,
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail || answer.title || String(response.status));
    return answer;
  }

  /** Asks the server anew. */
  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    const id = this.getAttribute("unit") ?? "";
    if (!this.isConnected || !id || !this.token) return;
    const asked = ++this.#asked;
    try {
      const [unit, updates] = await Promise.all([
        this.#ask<Unit>(`units/${encodeURIComponent(id)}`),
        this.#ask<{ items: Update[] }>(`updates?unit=${encodeURIComponent(id)}`),
      ]);
      if (asked !== this.#asked) return;
      this.#unit = unit;
      this.#updates = updates.items.filter((u) => !over.has(u.state));
      this.#trouble = "";
    } catch (e) {
      if (asked !== this.#asked) return;
      this.#trouble =
        e instanceof TypeError ? this.#t("app.unreachable") : this.#t("app.failed", { why: (e as Error).message });
    }
    this.#draw();
    const soon = this.#updates.some((u) => lively.has(u.state));
    this.#timer = window.setTimeout(() => this.refresh(), soon ? 5_000 : 60_000);
  }

  async #choose(update: Update, choice: Choice): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#declining = "";
    this.#draw();
    try {
      const now = await this.#ask<Update>(`updates/${encodeURIComponent(update.id)}`, { choice });
      this.#updates = this.#updates.map((u) => (u.id === now.id ? now : u));
      this.dispatchEvent(
        new CustomEvent("fettle-choice", { detail: { update: now.id, choice, state: now.state }, bubbles: true }),
      );
      this.#trouble = "";
    } catch (e) {
      this.#trouble = this.#t("app.failed", { why: (e as Error).message });
    }
    this.#busy = false;
    this.#draw();
    this.#timer = window.setTimeout(() => this.refresh(), 2_000);
  }

  #state(u: Update): { title: string; text: string } {
    const state = u.state === "not judgeable" ? "notJudgeable" : u.state;
    const time = u.at
      ? new Intl.DateTimeFormat(this.#code, { dateStyle: "medium", timeStyle: "short" }).format(new Date(u.at))
      : "";
    const key = u.waiting && (state === "accepted" || state === "scheduled") ? "waiting" : state;
    return { title: this.#t(`state.${key}.title`, { time }), text: u.waiting?.words ?? "" };
  }

  #draw(): void {
    const card = this.#root.querySelector(".card");
    const status = this.#root.querySelector("[role=status]");
    if (!card || !status) return;
    const held = this.#root.activeElement?.getAttribute("data-choice");
    card.setAttribute("lang", this.#code);
    card.replaceChildren(...this.#content());
    card.querySelector<HTMLElement>(`[data-choice="${held}"]`)?.focus();
    status.textContent = this.#trouble;
    status.className = this.#trouble ? "trouble" : "";
  }

  #content(): Node[] {
    const unit = this.#unit;
    if (!unit) return this.#trouble ? [] : [make("p", {}, this.#t("app.loading"))];
    const badge = make("p", { class: `badge ${unit.condition}`, part: "condition" });
    badge.innerHTML = `<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d="${marks[unit.condition] ?? ""}" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"/></svg>`;
    badge.append(this.#t(`condition.${unit.condition}.title`));
    const nodes: Node[] = [
      make("h2", { part: "title" }, unit.productTitle),
      make("p", { class: "soft" }, unit.serial),
      badge,
      make("p", {}, this.#t(`condition.${unit.condition}.text`)),
    ];
    for (const u of this.#updates) nodes.push(this.#update(u));
    return nodes;
  }

  #update(u: Update): Node {
    const section = make("section", { part: "update" });
    const state = this.#state(u);
    section.append(
      make("p", { class: "kind" }, this.#t(`update.kind.${u.kind}`)),
      make("h3", {}, u.title),
      make("p", {}, u.reason),
      make("p", { class: "state" }, state.title),
    );
    if (state.text) section.append(make("p", { class: "soft" }, state.text));
    if (u.state === "installing" && u.progress.of > 0) {
      const bar = document.createElement("progress");
      bar.max = u.progress.of;
      bar.value = u.progress.done;
      bar.setAttribute("aria-label", this.#t("state.progress"));
      section.append(bar);
    }
    if (u.choices.includes("now"))
      section.append(
        make("p", { class: "soft" }, `${this.#t("update.takes")}: ${this.#t("update.minutes", { n: u.minutes })}`),
      );
    const buttons = make("div", { class: "buttons", part: "choices" });
    const button = (choice: Choice, label: string, main: boolean, act: () => void) => {
      const b = make(
        "button",
        { type: "button", class: main ? "main" : "", "data-choice": `${u.id} ${choice}` },
        label,
      );
      (b as HTMLButtonElement).disabled = this.#busy;
      b.addEventListener("click", act);
      buttons.append(b);
    };
    if (this.#declining === u.id) {
      section.append(make("p", {}, this.#t("choice.decline.title")));
      button("not now", this.#t("choice.back"), false, () => {
        this.#declining = "";
        this.#draw();
      });
      button("decline", this.#t("choice.decline.confirm"), false, () => this.#choose(u, "decline"));
    } else
      for (const choice of u.choices) {
        const label = labels[choice];
        if (!label) continue; // a time is set in the portal
        button(choice, this.#t(label), choice === "now" && u.state === "offered", () => {
          if (choice !== "decline") this.#choose(u, choice);
          else {
            this.#declining = u.id;
            this.#draw();
          }
        });
      }
    if (buttons.childElementCount > 0) section.append(buttons);
    return section;
  }
}

/** An element whose text is never read as markup. */
function make(name: string, attributes: Record<string, string>, text = ""): HTMLElement {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value) e.setAttribute(key, value);
  if (text) e.textContent = text;
  return e;
}

if (!customElements.get("fettle-unit")) customElements.define("fettle-unit", FettleUnit);
