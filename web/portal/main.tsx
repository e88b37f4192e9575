import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "../theme/tokens.css";
import "./portal.css";
import { applyScheme, rememberedScheme } from "../theme/scheme";
import { App } from "./App";
import { firstLanguage, LanguageProvider } from "./language";
import { speak } from "./words";
import { register } from "./worker";

applyScheme(rememberedScheme());

const queries = new QueryClient({
  defaultOptions: { queries: { retry: false, refetchOnWindowFocus: true, staleTime: 1000 } },
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

let first = firstLanguage();
await speak(first, ["core"]).catch(() => {
  first = "en"; // better than nothing, where it is here
  return speak(first, ["core"]);
});
document.documentElement.lang = first;
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <LanguageProvider first={first}>
        <App />
      </LanguageProvider>
    </QueryClientProvider>
  </StrictMode>,
);

// After the first page stands: it must not wait for what it does not need.
const later = () => setTimeout(() => register().catch(() => {}), 1500);
if (document.readyState === "complete") later();
else window.addEventListener("load", later);
