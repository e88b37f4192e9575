import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode, startTransition } from "react";
import { createRoot } from "react-dom/client";
import "../theme/tokens.css";
import "./portal.css";
import { applyScheme, rememberedScheme } from "../theme/scheme";
import { App } from "./App";
import { pageAt } from "./address";
import { meetMe } from "./api";
import { firstLanguage, LanguageProvider } from "./language";
import { type Route, routes } from "./routes";
import { speak } from "./words";
import { register } from "./worker";

applyScheme(rememberedScheme());

const queries = new QueryClient({
  defaultOptions: { queries: { retry: false, refetchOnWindowFocus: true, staleTime: 1000 } },
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

let first = firstLanguage();
document.documentElement.lang = first;

// All at once what the first page needs, and not one after the other: who is here, the page's code, its words.
const at = pageAt(location.pathname);
if (at.name !== "missing") {
  const { open, load, areas } = routes[at.name] as Route;
  if (!open) meetMe(queries);
  load().catch(() => {});
  if (areas.length > 0) speak(first, areas).catch(() => {});
}

await speak(first, ["core"]).catch(() => {
  first = "en"; // better than nothing, where it is here
  return speak(first, ["core"]);
});
document.documentElement.lang = first;
// As a transition: drawn in slices, between which a slow phone answers a finger.
const page = createRoot(root);
startTransition(() =>
  page.render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <LanguageProvider first={first}>
          <App />
        </LanguageProvider>
      </QueryClientProvider>
    </StrictMode>,
  ),
);

// After the first page stands: it must not wait for what it does not need.
const later = () => setTimeout(() => register().catch(() => {}), 1500);
if (document.readyState === "complete") later();
else window.addEventListener("load", later);
