import { Button, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { gaveUp, passkeysWork } from "../../client/passkeys";
import {
  type Account,
  type Enrolment,
  needsProof,
  useAccount,
  useEndOthers,
  useEndSession,
  useEnrol,
  useEnrolled,
  useMakePasskey,
  useNewRecovery,
  usePasskeys,
  useRemovePasskey,
  useSessions,
  useSetPassword,
} from "../api/account";
import { Time } from "../clock";
import { Authenticator, RecoveryCodes } from "../parts/Authenticator";
import { Confirm } from "../parts/Confirm";
import { Dialog } from "../parts/Dialog";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Prove, Refused } from "../parts/Prove";
import { Sessions } from "../parts/Sessions";
import { Loading, Trouble } from "../parts/States";

export function AccountPage() {
  const account = useAccount();
  if (account.isPending)
    return (
      <Page title="My account">
        <Loading what="your account" />
      </Page>
    );
  if (account.error)
    return <PageTrouble what="Reading your account" error={account.error} retry={() => account.refetch()} />;
  const a = account.data;
  const sees = [...(a.products ?? []), ...(a.regions ?? [])];
  return (
    <Page title="My account">
      {!a.authenticator && <Unsecured />}
      <div className="sheets">
        <Sheet title="Who you are">
          <Facts
            facts={[
              ["E-mail", a.email],
              ["Name", a.name || "–"],
              ["Role", a.role],
              ["You see", sees.length > 0 ? sees.join(", ") : "everything"],
              ["You may", a.permissions.join(", ")],
            ]}
          />
          <p>
            Programs of yours use <Link to="/tokens">API tokens</Link>.
          </p>
        </Sheet>
        <Password account={a} />
        <SecondFactor account={a} />
        <Passkeys />
        <Where />
      </div>
    </Page>
  );
}

function Unsecured() {
  return (
    <Text className="hint" role="note">
      Your account has no authenticator. Set one up, or make a passkey, so that you can sign in without a link.
    </Text>
  );
}

function Password({ account: a }: { account: Account }) {
  const [old, setOld] = useState("");
  const [password, setPassword] = useState("");
  const change = useSetPassword();
  function submit(e: FormEvent) {
    e.preventDefault();
    change.mutate(
      { old: old || undefined, password },
      {
        onSuccess: () => {
          setOld("");
          setPassword("");
        },
      },
    );
  }
  return (
    <Sheet title="Password">
      <form onSubmit={submit}>
        <Stack>
          <Text size="sm">
            {a.password ? (
              <>
                Set <Time at={a.passwordAt} />.{" "}
              </>
            ) : (
              "None is set. "
            )}
            At least 10 characters, of any kind. A new one signs you out everywhere else.
          </Text>
          <input type="text" hidden readOnly autoComplete="username" value={a.email} />
          {a.password && (
            <PasswordInput
              label="Password now"
              name="old"
              autoComplete="current-password"
              visibilityToggleButtonProps={{ "aria-label": "Show the password" }}
              value={old}
              onChange={(e) => setOld(e.currentTarget.value)}
            />
          )}
          <PasswordInput
            label="New password"
            name="password"
            required
            autoComplete="new-password"
            visibilityToggleButtonProps={{ "aria-label": "Show the new password" }}
            value={password}
            onChange={(e) => setPassword(e.currentTarget.value)}
          />
          <Refused error={change.error} />
          {change.isSuccess && <Text role="status">The password is changed.</Text>}
          <Group>
            <Button type="submit" loading={change.isPending}>
              {a.password ? "Change the password" : "Set a password"}
            </Button>
          </Group>
        </Stack>
      </form>
    </Sheet>
  );
}

function SecondFactor({ account: a }: { account: Account }) {
  const enrol = useEnrol();
  const enrolled = useEnrolled();
  const renew = useNewRecovery();
  const [enrolment, setEnrolment] = useState<Enrolment | null>(null);
  const [codes, setCodes] = useState<string[] | null>(null);
  const begin = () => enrol.mutate(undefined, { onSuccess: setEnrolment });
  const fresh = () => renew.mutate(undefined, { onSuccess: (r) => setCodes(r.codes) });
  const refused = enrol.error ?? renew.error;
  return (
    <Sheet title="Authenticator">
      <Stack>
        <Text size="sm">
          {a.authenticator ? (
            <>
              Set up <Time at={a.authenticatorAt} />; {a.recoveryCodes} recovery codes are left.
            </>
          ) : (
            "An app that shows six digits, new every 30 seconds. With it, you sign in by password."
          )}
        </Text>
        {!needsProof(refused) && <Refused error={refused} />}
        <Group>
          <Button loading={enrol.isPending} onClick={begin} variant={a.authenticator ? "outline" : "filled"}>
            {a.authenticator ? "Set up another" : "Set up an authenticator"}
          </Button>
          {a.authenticator && (
            <Button variant="outline" loading={renew.isPending} onClick={fresh}>
              New recovery codes
            </Button>
          )}
        </Group>
      </Stack>
      <Prove error={enrol.error} again={begin} forget={() => enrol.reset()} />
      <Prove error={renew.error} again={fresh} forget={() => renew.reset()} />
      <Dialog open={enrolment !== null} close={() => setEnrolment(null)} title="Set up an authenticator">
        {enrolment && (
          <Authenticator
            enrolment={enrolment}
            busy={enrolled.isPending}
            error={enrolled.error}
            confirm={(code) =>
              enrolled.mutate(
                { ticket: enrolment.ticket, code },
                {
                  onSuccess: (r) => {
                    setEnrolment(null);
                    setCodes(r.codes);
                  },
                },
              )
            }
          />
        )}
      </Dialog>
      <Dialog open={codes !== null} close={() => setCodes(null)} title="Recovery codes">
        {codes && <RecoveryCodes codes={codes} done={() => setCodes(null)} label="I have kept them" />}
      </Dialog>
    </Sheet>
  );
}

function Passkeys() {
  const passkeys = usePasskeys();
  const make = useMakePasskey();
  const remove = useRemovePasskey();
  const [name, setName] = useState("");
  function submit(e: FormEvent) {
    e.preventDefault();
    make.mutate(name, { onSuccess: () => setName("") });
  }
  return (
    <Sheet title="Passkeys">
      <Stack>
        <Text size="sm">A passkey signs you in by your finger, face or a key, without a password.</Text>
        {passkeys.error && (
          <Trouble what="Reading your passkeys" error={passkeys.error} retry={() => passkeys.refetch()} />
        )}
        <ul className="plain">
          {passkeys.data?.items.map((k) => (
            <li key={k.id}>
              <Group justify="space-between">
                <span>
                  {k.name || "Passkey"}, made <Time at={k.createdAt} />
                </span>
                <Confirm
                  size="xs"
                  danger
                  label="Remove"
                  title={`Remove ${k.name || "this passkey"}?`}
                  confirm={() => remove.mutateAsync(k.id)}
                >
                  It signs nobody in any more.
                </Confirm>
              </Group>
            </li>
          ))}
        </ul>
        {passkeysWork() ? (
          <form onSubmit={submit}>
            <Group align="flex-end">
              <TextInput
                label="Name of a new one"
                placeholder="My laptop"
                required
                value={name}
                maxLength={100}
                onChange={(e) => setName(e.currentTarget.value)}
              />
              <Button type="submit" variant="outline" loading={make.isPending}>
                Make a passkey
              </Button>
            </Group>
          </form>
        ) : (
          <Text size="sm">This browser has no passkeys, or the console is not opened by https.</Text>
        )}
        {make.error && !gaveUp(make.error) && <Refused error={make.error} />}
      </Stack>
    </Sheet>
  );
}

function Where() {
  const sessions = useSessions();
  const end = useEndSession();
  const others = useEndOthers();
  return (
    <Sheet
      title="Where you are signed in"
      actions={
        (sessions.data?.items.length ?? 0) > 1 && (
          <Confirm
            size="xs"
            danger
            label="Sign out everywhere else"
            title="Sign out everywhere else?"
            confirm={() => others.mutateAsync()}
          >
            This browser stays signed in.
          </Confirm>
        )
      }
    >
      {sessions.error && (
        <Trouble what="Reading your sessions" error={sessions.error} retry={() => sessions.refetch()} />
      )}
      <Sessions sessions={sessions.data?.items ?? []} end={(id) => end.mutateAsync(id)} />
    </Sheet>
  );
}
