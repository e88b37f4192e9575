import { Group } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { type Approval, useApprovals, useDecide } from "../api/account";
import { useMay, useSession } from "../api/session";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Page, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";

export function ApprovalsPage() {
  const approvals = useApprovals();
  const all = approvals.data?.items ?? [];
  const pending = all.filter((a) => a.state === "pending");
  const decided = all.filter((a) => a.state !== "pending");
  return (
    <Page title="Approvals">
      <p>Where four eyes are asked for, a campaign starts when a second person says yes.</p>
      {approvals.isPending && <Loading what="approvals" />}
      {approvals.error && (
        <Trouble what="Reading approvals" error={approvals.error} retry={() => approvals.refetch()} />
      )}
      {approvals.data && (
        <>
          <Sheet title="To decide">
            {pending.length === 0 ? (
              <Empty title="Nothing waits">
                What somebody asks for appears here for everybody else who may approve.
              </Empty>
            ) : (
              <List approvals={pending} />
            )}
          </Sheet>
          {decided.length > 0 && (
            <Sheet title="Decided">
              <List approvals={decided} />
            </Sheet>
          )}
        </>
      )}
    </Page>
  );
}

function List({ approvals }: { approvals: Approval[] }) {
  return (
    <ul className="plain">
      {approvals.map((a) => (
        <li key={a.id}>
          <Group justify="space-between" gap="xs">
            <span>
              Start campaign{" "}
              <Link to="/campaigns/$name" params={{ name: a.object }}>
                {a.object}
              </Link>{" "}
              of {a.product}
              <br />
              <small>
                asked for by {a.askedBy}, <Time at={a.askedAt} />
                {a.decidedBy && (
                  <>
                    ; {a.state} by {a.decidedBy}, <Time at={a.decidedAt} />
                    {a.answer && `: ${a.answer}`}
                  </>
                )}
              </small>
            </span>
            {a.state === "pending" && <Decide approval={a} />}
          </Group>
        </li>
      ))}
    </ul>
  );
}

/** Yes or no, for those who may; who asked may take it back. */
export function Decide({ approval: a }: { approval: Approval }) {
  const decide = useDecide();
  const may = useMay("approve");
  const own = useSession().data?.email === a.askedBy;
  if (own)
    return (
      <Confirm
        size="xs"
        danger
        label="Take back"
        title={`Take back what you asked for ${a.object}?`}
        confirm={(why) => decide.mutateAsync({ id: a.id, approve: false, why: why || undefined })}
      >
        Somebody else has to approve it; you can only take it back.
      </Confirm>
    );
  if (!may) return null;
  return (
    <Group gap={6}>
      <Confirm
        size="xs"
        label="Approve"
        reason="Why"
        title={`Start ${a.object}?`}
        confirm={(why) => decide.mutateAsync({ id: a.id, approve: true, why: why || undefined })}
      >
        {a.askedBy} asked for it. It starts at once: its first wave is offered to owners.
      </Confirm>
      <Confirm
        size="xs"
        danger
        label="Reject"
        reason="Why"
        title={`Reject the start of ${a.object}?`}
        confirm={(why) => decide.mutateAsync({ id: a.id, approve: false, why: why || undefined })}
      >
        The campaign stays a draft. It can be asked for again.
      </Confirm>
    </Group>
  );
}
