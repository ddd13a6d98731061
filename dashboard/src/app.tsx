// The frame around the views: where one is, whether it is live, the key, the colours, the keyboard.

import { useEffect, useRef, useState } from "preact/hooks";
import { applyKey, forgetKey, hasKey, keyChanges, keyWanted } from "./api.ts";
import { connection } from "./feed.ts";
import { Empty } from "./parts/basics.tsx";
import { Dialog } from "./parts/dialog.tsx";
import { Toasts } from "./parts/toasts.tsx";
import { go, href, route } from "./route.ts";
import { useValue } from "./store.ts";
import { nextTheme, theme } from "./theme.ts";
import { Agents } from "./views/agents.tsx";
import { Approvals } from "./views/approvals.tsx";
import { DeadLetters } from "./views/dead-letters.tsx";
import { FirstRun } from "./views/first-run.tsx";
import { Intent } from "./views/intent.tsx";
import { Intents } from "./views/intents.tsx";
import { Overview } from "./views/overview.tsx";
import { Send } from "./views/send.tsx";

interface Place {
  readonly id: string;
  readonly name: string;
  readonly key: string;
}

const PLACES: readonly Place[] = [
  { id: "intents", name: "Intents", key: "i" },
  { id: "overview", name: "Overview", key: "o" },
  { id: "agents", name: "Agents", key: "a" },
  { id: "approvals", name: "Approvals", key: "p" },
  { id: "dead", name: "Dead letters", key: "d" },
  { id: "send", name: "Send", key: "s" },
];

const SHORTCUTS: readonly (readonly [string, string])[] = [
  ...PLACES.map(({ key, name }) => [`g ${key}`, name] as const),
  ["/", "Search the intents"],
  ["j  k", "Down and up in a list"],
  ["Enter", "Open"],
  ["x", "Select; with Shift and an arrow, a range; Ctrl A, all; Esc, none"],
  ["u", "Back to the list"],
  ["t", "Light, dark, as the system"],
  ["?", "This help"],
];

function View() {
  const { path } = useValue(route);
  const [place = "intents", id] = path;
  switch (place) {
    case "intents":
      return id === undefined ? <Intents /> : <Intent key={id} id={id} />;
    case "overview":
      return <Overview />;
    case "agents":
      return <Agents />;
    case "approvals":
      return <Approvals />;
    case "dead":
      return <DeadLetters />;
    case "send":
      return <Send />;
    case "start":
      return <FirstRun />;
    default:
      return (
        <div class="page">
          <Empty title="There is no such page">
            <a href={href(["intents"])}>All intents</a>
          </Empty>
        </div>
      );
  }
}

const SAID = { live: "Live", connecting: "Connecting", offline: "Reconnecting" } as const;

function Connection() {
  const state = useValue(connection);
  return (
    <span class={`connection ${state}`} role="status">
      <span class="dot" aria-hidden="true" />
      {SAID[state]}
    </span>
  );
}

function KeyForm() {
  const wanted = useValue(keyWanted);
  const [key, setKey] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    applyKey(key.trim());
    setKey("");
  };
  return (
    <main class="gate">
      <form class="card form" onSubmit={submit}>
        <h1>Perdure</h1>
        <p>
          {wanted === "wrong"
            ? "The server does not know this key, or it has ended."
            : "This server wants an API key."}
        </p>
        <label class="field wide">
          <span class="label">API key</span>
          <input
            type="password"
            autocomplete="off"
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <div class="actions">
          <button type="submit" class="primary">
            Open
          </button>
        </div>
        <p class="faint">
          It stays in this tab until it is closed. To act on intents it needs the scope operate, to look read.
        </p>
      </form>
    </main>
  );
}

const isTyping = (event: KeyboardEvent): boolean => {
  const target = event.target as HTMLElement;
  return target.closest("input, textarea, select, dialog") !== null;
};

/** `g` and a letter goes somewhere; single keys do the rest. */
function useShortcuts(onHelp: () => void): void {
  const going = useRef(0);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event)) return;
      const { key } = event;
      if (performance.now() - going.current < 1_200) {
        going.current = 0;
        const place = PLACES.find((one) => one.key === key);
        if (place !== undefined) return go([place.id]);
      }
      if (key === "g") going.current = performance.now();
      else if (key === "?") onHelp();
      else if (key === "t") nextTheme();
      else if (key === "u") go(["intents"]);
      else if (key === "/") {
        event.preventDefault();
        if (document.getElementById("search") === null) go(["intents"]);
        requestAnimationFrame(() => setTimeout(() => document.getElementById("search")?.focus(), 50));
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [onHelp]);
}

function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl class="shortcuts">
        {SHORTCUTS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p>
        <a href={href(["start"])} onClick={onClose}>
          Three commands to begin with
        </a>
      </p>
      <div class="actions end">
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

const THEME_NAMES = { system: "System colours", light: "Light", dark: "Dark" } as const;

export function App() {
  const { path } = useValue(route);
  const wanted = useValue(keyWanted);
  const chosen = useValue(theme);
  useValue(keyChanges);
  const [help, setHelp] = useState(false);
  useShortcuts(() => setHelp(true));
  const place = path[0] ?? "intents";
  useEffect(() => {
    if (path.length < 2)
      document.title = `${PLACES.find(({ id }) => id === place)?.name ?? "Start"} · Perdure`;
  }, [place, path.length]);
  // On a phone the places are wider than the window.
  useEffect(() => {
    document.querySelector(".bar-top [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [place]);
  if (wanted !== false) return <KeyForm />;
  return (
    <div class="shell">
      <button type="button" class="skip" onClick={() => document.getElementById("main")?.focus()}>
        Skip to the content
      </button>
      <header class="bar-top">
        <a class="brand" href={href(["intents"])}>
          Perdure
        </a>
        <nav aria-label="Main">
          {PLACES.map(({ id, name }) => (
            <a key={id} href={href([id])} aria-current={place === id ? "page" : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <div class="bar-end">
          <Connection />
          <button type="button" class="quiet small" onClick={nextTheme} title="Colours ( t )">
            {THEME_NAMES[chosen]}
          </button>
          {hasKey() && (
            <button type="button" class="quiet small" onClick={forgetKey}>
              Forget key
            </button>
          )}
          <button
            type="button"
            class="quiet small"
            onClick={() => setHelp(true)}
            aria-label="Keyboard help"
            title="Keyboard ( ? )"
          >
            ?
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <View />
      </main>
      {help && <Help onClose={() => setHelp(false)} />}
      <Toasts />
    </div>
  );
}
