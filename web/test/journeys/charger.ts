// What the journeys' maker declares.

const product = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: wall-charger}
spec:
  title: Wall charger
  purposes:
    - name: care
      title: Looking after your charger
      description: So that we find a fault before you notice it.
      basis: consent
      texts: {de: {title: Nach Ihrem Ladegerät sehen, description: Damit wir einen Fehler vor Ihnen finden.}}
    - name: operation
      title: Running the service
      description: Which software your charger has and whether it is charging.
      basis: necessary
      texts: {de: {title: Betrieb, description: Welche Software es hat und ob es lädt.}}
  notice:
    version: "1"
    controller: {name: Nordlys Charging, contact: privacy@nordlys.example}
    texts: {en: {title: Your charger's data, text: We ask first.}, de: {title: Daten Ihres Ladegeräts, text: Wir fragen zuerst.}}
  signals:
    - {name: charging, title: Charging, type: boolean, purposes: [operation, care], retention: 90d, description: Whether the car is being charged.}
    - {name: current, title: Current, type: number, unit: A, purposes: [care], retention: 90d, description: Current that flows to the car.}
    - {name: plug_temperature, title: Plug temperature, type: number, unit: Cel, purposes: [care], retention: 90d, description: Temperature inside the plug.}
  tolerances:
    - {name: plug-limit, signal: plug_temperature, bands: [{when: charging && current >= 6.0, max: 80}]}
  help:
    contact: {name: Nordlys Charging, mail: help@nordlys.example, phone: "+47 22 00 00 00"}
  sampleGap: 1h
---
apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: plug-overheat}
spec: {product: wall-charger, title: Plug too hot, type: tolerance, severity: critical, purpose: care, tolerance: plug-limit, hold: 30m, hysteresis: 3, clear: 1h, exposure: charging}
`;

/** Product, detector and units, each with an owner who has consented. */
export function fleet(owners: Record<string, string>): string {
  const units = Object.entries(owners).map(
    ([id, email]) => `---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: ${id}}
spec:
  product: wall-charger
  serial: S-${id}
  batch: ${id}
  consents: [care]
  owner: {email: ${email}, name: ${email[0]?.toUpperCase()}${email.slice(1, email.indexOf("@"))}, locale: en, timeZone: Europe/London}
`,
  );
  return product + units.join("");
}

/** A release and the campaign that carries it. */
export function remedy(kind: "safety" | "feature", cohort: string, version: string, deadline: string): string {
  const words = {
    safety: {
      title: titles.safety,
      reason: "The plug of some adapters can become too hot.",
      notes: "The charger lowers the current before the plug becomes too hot.",
    },
    feature: { title: titles.feature, reason: "Many of you asked for it.", notes: "It charges when power is cheap." },
  }[kind];
  return `apiVersion: fettle.dev/v1
kind: Release
metadata: {name: charger-${version}}
spec:
  product: wall-charger
  version: ${version}
  kind: ${kind}
  minutes: 45
  notes: {en: "${words.notes}"}
  unavailable: {en: Charging pauses for about 45 minutes.}
  artifact: charger-${version}.swu
---
apiVersion: fettle.dev/v1
kind: Campaign
metadata: {name: ${cohort}}
spec:
  product: wall-charger
  kind: ${kind}
  title: {en: ${words.title}}
  reason: {en: "${words.reason}"}
  cohort: ${cohort}
  release: charger-${version}
  detector: plug-overheat
  exposure: 1h
  waves: [{name: all, share: 1}]
  gate: {soak: 1h, failed: 0.1, verified: 0.9, relapsed: 0.1}
  deadline: ${deadline}
`;
}

/** What the campaigns are called. */
export const titles = { safety: "A safety update for your wall charger", feature: "Charging at night" } as const;
