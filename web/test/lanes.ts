import type { BrowserContext, Page } from "playwright-core";
import { afterAll, test } from "vitest";
import { launch, open } from "./browser";
import * as f from "./fixtures/fleet";
import { type Mock, startMock } from "./server";

// Windows that are used again. A test loads its page whole and from nothing,
// but what the page is made of is fetched and compiled once, as in the window
// of somebody who works there all day: half of what a new one each time costs.

export type Lane = { mock: Mock; context: BrowserContext; page: Page; errors: string[] };
type Size = { width: number; height: number };
type Options = Parameters<typeof open>[1];

class Lanes {
  private readonly browser = launch();
  private readonly free: Lane[] = [];

  constructor(private readonly size: Size) {}

  /** A window with nothing in it, in light, with a mock that was told nothing. */
  async take(): Promise<Lane> {
    return this.free.pop() ?? this.begin();
  }

  /** A window of its own. */
  async begin(options: Options = {}): Promise<Lane> {
    const mock = await startMock();
    // A worker would keep pages, and lend its typefaces from one test to the next.
    const own = { viewport: this.size, colorScheme: "light", serviceWorkers: "block", ...options } as const;
    const opened = await open(await this.browser, own);
    await opened.page.clock.setFixedTime(f.now);
    return { mock, ...opened };
  }

  /** Empties a window for whoever comes next. */
  async give(lane: Lane): Promise<void> {
    const { page, mock, errors } = lane;
    // There is no page there: what it was has ended, and what it kept can be forgotten.
    await page.goto(mock.url);
    await page.evaluate(() => {
      localStorage.clear();
      sessionStorage.clear();
    });
    await page.setViewportSize(this.size);
    await page.emulateMedia({ colorScheme: "light" });
    // A pointer left where it was would light up what comes to lie under it.
    await page.mouse.move(this.size.width - 1, this.size.height - 1);
    mock.renew();
    errors.length = 0;
    this.free.push(lane);
  }

  async end({ context, mock }: Lane): Promise<void> {
    await context.close();
    await mock.close();
  }

  async close(): Promise<void> {
    await Promise.all(this.free.map((l) => this.end(l)));
    await (await this.browser).close();
  }
}

/** Opens a page, after the mock is prepared; with options in a window of its own. */
export type Visit = (path: string, prepare?: (m: Mock) => void, options?: Options) => Promise<Lane>;

/** `test` for visits in windows of this size; call it once in a file. */
export function visitors(size: Size) {
  const lanes = new Lanes(size);
  afterAll(() => lanes.close());
  return test.extend<{ visit: Visit }>({
    visit: async ({ task: _ }, use) => {
      const done: (() => Promise<void>)[] = [];
      await use(async (path, prepare, options) => {
        const lane = await (options ? lanes.begin(options) : lanes.take());
        done.push(() => (options ? lanes.end(lane) : lanes.give(lane)));
        prepare?.(lane.mock);
        await lane.page.goto(lane.mock.url + path);
        return lane;
      });
      await Promise.all(done.map((end) => end()));
    },
  });
}
