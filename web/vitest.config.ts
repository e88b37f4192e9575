import { defineConfig } from "vitest/config";

// Two browsers with a few pages each keep two cores busy without starving a
// page of them; the long timeout is for machines that do other work as well.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 600_000,
    hookTimeout: 300_000,
    pool: "forks",
    maxWorkers: 2,
    maxConcurrency: 3,
    expect: { poll: { timeout: 150_000 } },
  },
});
