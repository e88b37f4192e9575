import "@fontsource/ibm-plex-sans/latin-400.css";
import "@fontsource/ibm-plex-sans/latin-600.css";
import "@fontsource/zilla-slab/latin-600.css";
import "@mantine/core/styles.layer.css";
import "../theme/tokens.css";
import "./parts.css";
import "./console.css";
import { localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { isSignedOut } from "../client/problem";
import { ClockProvider } from "./clock";
import { router } from "./router";
import { cssVariablesResolver, theme } from "./theme";

const queries = new QueryClient({
  defaultOptions: { queries: { retry: false, staleTime: 1_000 } },
  queryCache: new QueryCache({
    // A session that has ended, wherever that is noticed, leads to the sign-in page.
    onError: (error) => {
      if (isSignedOut(error) && router.state.location.pathname !== "/sign-in")
        router.navigate({ to: "/sign-in", replace: true });
    },
  }),
});

const scheme = localStorageColorSchemeManager({ key: "fettle.scheme" });

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariablesResolver}
      colorSchemeManager={scheme}
      defaultColorScheme="auto"
    >
      <QueryClientProvider client={queries}>
        <ClockProvider>
          <RouterProvider router={router} />
        </ClockProvider>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
