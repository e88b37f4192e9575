import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "../theme/tokens.css";
import "./portal.css";
import { applyScheme, rememberedScheme } from "../theme/scheme";
import { App } from "./App";
import { firstLanguage, LanguageProvider } from "./language";
import { speak } from "./words";

applyScheme(rememberedScheme());

const queries = new QueryClient({
  defaultOptions: { queries: { retry: false, refetchOnWindowFocus: true, staleTime: 1000 } },
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

const first = firstLanguage();
await speak(first, ["core"]);
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <LanguageProvider first={first}>
        <App />
      </LanguageProvider>
    </QueryClientProvider>
  </StrictMode>,
);
