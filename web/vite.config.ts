import { resolve } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig, type UserConfig } from "vite";
import { installable, styledAtOnce } from "./install";
import { widgetWords } from "./widget";

// Two entries, built one after the other: --mode console is served at
// /console/, --mode portal at /my/. Each is whole in its own folder of dist, so
// that neither loads a byte of the other.
const bases: Record<string, string> = { console: "/console/", portal: "/my/" };

// The widget is one file beside the portal, /my/widget.js, that any page may load.
const widget: UserConfig = {
  root: resolve(import.meta.dirname, "widget"),
  plugins: [widgetWords()],
  publicDir: false,
  build: {
    outDir: resolve(import.meta.dirname, "dist", "portal"),
    emptyOutDir: false,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    lib: {
      entry: resolve(import.meta.dirname, "widget/fettle-unit.ts"),
      formats: ["iife"],
      name: "Fettle",
      fileName: () => "widget.js",
    },
  },
};

export default defineConfig(({ mode }) => {
  if (mode === "widget") return widget;
  const base = bases[mode];
  if (!base) throw new Error("build with --mode console, portal or widget");
  return {
    root: resolve(import.meta.dirname, mode),
    base,
    plugins: mode === "portal" ? [react(), installable(), styledAtOnce()] : [react()],
    publicDir: false,
    build: {
      outDir: resolve(import.meta.dirname, "dist", mode),
      emptyOutDir: true,
      assetsInlineLimit: 0,
      target: "es2023",
      // Those that know light-dark(): turned into anything older, a colour would
      // follow the device alone and not the owner's switch.
      cssTarget: ["chrome123", "firefox120", "safari17.5"],
      manifest: "manifest.json",
      // The service worker has one address for ever: the browser asks there whether it has changed.
      rollupOptions:
        mode === "portal"
          ? {
              input: {
                index: resolve(import.meta.dirname, "portal/index.html"),
                sw: resolve(import.meta.dirname, "portal/sw.ts"),
              },
              output: {
                // What every page needs comes in two files, not in a dozen small ones: a slow network
                // pays for each request.
                advancedChunks: {
                  groups: [
                    { name: "base", test: /node_modules[\\/](react|react-dom|scheduler|@tanstack|openapi-fetch)[\\/]/ },
                    {
                      name: "frame",
                      test: /web[\\/]((client|theme)[\\/]\w+|portal[\\/](address|api|areas|Bars|fill|language|Nav|pushed|routes|states|time|tongues|words))\.tsx?$/,
                    },
                  ],
                },
                entryFileNames: (c) => (c.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
              },
            }
          : {},
    },
  };
});
