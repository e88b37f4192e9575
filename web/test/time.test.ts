import { describe, expect, test } from "vitest";
import { formatTime as inConsole } from "../console/clock";
import { pageAt, pathOf } from "../portal/address";
import { formatTime, instantOf, knownZone, wallTime } from "../portal/time";

describe("the owner's wall clock", () => {
  test.each([
    ["2014-05-20T20:00", "Europe/Oslo", "2014-05-20T18:00:00.000Z"],
    ["2014-01-20T20:00", "Europe/Oslo", "2014-01-20T19:00:00.000Z"],
    ["2014-05-20T20:00", "America/Los_Angeles", "2014-05-21T03:00:00.000Z"],
    ["2014-05-20T20:00", "Asia/Kathmandu", "2014-05-20T14:15:00.000Z"],
    ["2014-05-20T20:00", "UTC", "2014-05-20T20:00:00.000Z"],
    // Of the two 02:30 of a night in October the earlier; a 02:30 that March skips is 03:30.
    ["2014-10-26T02:30", "Europe/Oslo", "2014-10-26T00:30:00.000Z"],
    ["2014-03-30T02:30", "Europe/Oslo", "2014-03-30T01:30:00.000Z"],
  ])("%s in %s is %s", (local, zone, instant) => {
    expect(instantOf(local, zone).toISOString()).toBe(instant);
  });

  test("reads back what it wrote", () => {
    expect(wallTime(new Date("2014-05-20T18:00:00Z"), "Europe/Oslo")).toBe("2014-05-20T20:00");
    expect(wallTime(new Date("2014-05-20T22:05:00Z"), "Europe/Oslo")).toBe("2014-05-21T00:05");
  });

  test("is written with its zone", () => {
    expect(formatTime("2014-05-20T18:00:00Z", "de", "Europe/Oslo")).toMatch(/20\. Mai 2014.*20:00 MESZ/);
    expect(knownZone("Mars/Olympus")).toBe("UTC");
    expect(knownZone(undefined)).toBe("UTC");
  });
});

test("the console writes UTC with its zone, and a dash for no time", () => {
  expect(inConsole("2014-05-20T18:00:30Z", "UTC")).toBe("2014-05-20 18:00 UTC");
  expect(inConsole("2014-05-20T18:00:30Z", "local")).toMatch(/^2014-05-2\d \d\d:00 \S+/);
  expect(inConsole(undefined, "UTC")).toBe("–");
});

test.each([
  ["/my/", { name: "home" }],
  ["/my/sign-in", { name: "sign-in" }],
  ["/my/units/WC-000010", { name: "unit", id: "WC-000010" }],
  ["/my/units/a%2Fb", { name: "unit", id: "a/b" }],
  ["/my/units/WC-000010/history", { name: "history", id: "WC-000010" }],
  ["/my/units/%E0%A4%A", { name: "missing" }],
  ["/my/units//history", { name: "missing" }],
  ["/my/else", { name: "missing" }],
] as const)("the address %s is a page of the portal", (path, page) => {
  expect(pageAt(path)).toEqual(page);
  if (page.name !== "missing") expect(pathOf(page)).toBe(path);
});
