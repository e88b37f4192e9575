import { AppShell, Burger, Button, Group, SegmentedControl, Text, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { useEffect } from "react";
import { useSession, useSignOut } from "./api/session";
import { useClock, type Zone } from "./clock";
import { Health } from "./parts/Health";
import { Loading, Trouble } from "./parts/States";

const sections = [
  [
    { to: "/", label: "Overview" },
    { to: "/units", label: "Units" },
    { to: "/findings", label: "Findings" },
    { to: "/risk", label: "Risk" },
    { to: "/parts", label: "Part life" },
    { to: "/cohorts", label: "Cohorts" },
    { to: "/campaigns", label: "Campaigns" },
    { to: "/releases", label: "Releases" },
    { to: "/approvals", label: "Approvals" },
  ],
  [
    { to: "/products", label: "Products" },
    { to: "/detectors", label: "Detectors" },
    { to: "/tips", label: "Tips" },
    { to: "/claims", label: "Claims" },
    { to: "/notifications", label: "Notifications" },
    { to: "/delivery", label: "Delivery" },
    { to: "/templates", label: "Templates" },
    { to: "/ladders", label: "Ladders" },
    { to: "/letters", label: "Letters" },
    { to: "/calls", label: "Calls" },
    { to: "/requests", label: "Requests" },
    { to: "/audit", label: "Audit trail" },
    { to: "/keys", label: "Keys" },
    { to: "/people", label: "People" },
    { to: "/tokens", label: "API tokens" },
    { to: "/account", label: "My account" },
  ],
] as const;

export function Shell() {
  const [open, { toggle, close }] = useDisclosure();
  const session = useSession();
  const signOut = useSignOut();
  const navigate = useNavigate();
  const leave = () => signOut.mutate(undefined, { onSuccess: () => navigate({ to: "/sign-in" }) });
  const path = useRouterState({ select: (s) => s.location.pathname });

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new page closes the menu
  useEffect(close, [path, close]);

  if (session.isPending)
    return (
      <div className="page">
        <Loading what="the console" />
      </div>
    );
  if (session.error)
    return (
      <div className="page">
        <Trouble what="Opening the console" error={session.error} retry={() => session.refetch()} />
      </div>
    );

  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 216, breakpoint: "sm", collapsed: { mobile: !open } }}
      padding={0}
      transitionDuration={0}
    >
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <AppShell.Header className="head">
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger
              opened={open}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label={open ? "Close the menu" : "Open the menu"}
            />
            <Link to="/" className="brand">
              <Mark />
              Fettle <span>console</span>
            </Link>
          </Group>
          <Settings email={session.data.email} leave={leave} />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className="nav" aria-label="Console">
        {sections.map((links) => (
          <ul key={links[0].to}>
            {links.map((l) => (
              <li key={l.to}>
                <Link to={l.to} activeOptions={{ exact: l.to === "/", includeSearch: false }}>
                  {l.label}
                </Link>
              </li>
            ))}
          </ul>
        ))}
        <Button variant="subtle" hiddenFrom="sm" onClick={leave}>
          Sign out
        </Button>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <div className="page">
          <Health />
          <Outlet />
        </div>
      </AppShell.Main>
    </AppShell>
  );
}

function Settings({ email, leave }: { email: string; leave: () => void }) {
  const { zone, setZone } = useClock();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Group gap="xs" wrap="nowrap" className="settings">
      <SegmentedControl
        size="xs"
        aria-label="Times in"
        value={zone}
        onChange={(z) => setZone(z as Zone)}
        data={[
          { value: "UTC", label: "UTC" },
          { value: "local", label: "Local" },
        ]}
      />
      <label className="scheme">
        <span className="unseen">Appearance</span>
        <select value={colorScheme} onChange={(e) => setColorScheme(e.target.value as "light" | "dark" | "auto")}>
          <option value="auto">Auto</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </label>
      <Text size="sm" visibleFrom="md" component={Link} to="/account">
        {email}
      </Text>
      <Button size="compact-sm" variant="subtle" visibleFrom="sm" onClick={leave}>
        Sign out
      </Button>
    </Group>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <rect width="32" height="32" rx="6" fill="var(--accent)" />
      <path
        d="M6 17h5l3-8 5 14 3-6h4"
        fill="none"
        stroke="var(--accent-ink)"
        strokeWidth="2.6"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
