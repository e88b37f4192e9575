package api

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fault"
)

type cohortIn struct {
	Body struct {
		Definition cohort.Definition `json:"definition"`
	}
}

type cohortList struct {
	wire.PageParams
	Product string `query:"product"`
	Name    string `query:"name"`
}

type memberList struct {
	frame.IDParam
	wire.PageParams
	List string `query:"list" enum:"in,out,not judgeable"`
}

func (s *server) cohorts() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/cohorts", ID: "createCohort", Summary: "Freeze a cohort",
		Doc: "Computed in the background: look at state.", Tag: "cohorts", Access: access.Analyse, Sight: frame.ByProduct, Status: http.StatusCreated,
	}, func(ctx context.Context, in *cohortIn) (cohort.Snapshot, error) {
		return s.d.Cohorts.Create(ctx, in.Body.Definition, frame.Who(ctx).Email)
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/cohorts", ID: "listCohorts", Summary: "List cohorts, newest first", Tag: "cohorts", Access: access.Look, Sight: frame.ByProduct},
		func(ctx context.Context, in *cohortList) (wire.Page[cohort.Snapshot], error) {
			all, err := s.d.Cohorts.Snapshots(ctx, in.Product)
			if err != nil {
				return wire.Page[cohort.Snapshot]{}, err
			}
			named := all[:0]
			for _, c := range all {
				if in.Name == "" || c.Definition.Name == in.Name {
					named = append(named, c)
				}
			}
			return frame.PageAfter(named, in.PageParams, func(c cohort.Snapshot) string { return c.ID }), nil
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/cohorts/{id}", ID: "getCohort", Summary: "A cohort", Tag: "cohorts", Access: access.Look, Sight: frame.ByProduct},
		func(ctx context.Context, in *frame.IDParam) (cohort.Snapshot, error) {
			return s.cohort(ctx, in.ID)
		})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: "/v1/cohorts/{id}", ID: "deleteCohort", Summary: "Delete a cohort", Doc: "409 while a campaign has frozen it.", Tag: "cohorts", Access: access.Analyse, Sight: frame.ByProduct},
		func(ctx context.Context, in *frame.IDParam) error {
			return s.d.Tx.InTx(ctx, func(ctx context.Context) error {
				runs, err := s.d.Runs.Campaigns(ctx, "")
				if err != nil {
					return err
				}
				var by []string
				for _, r := range runs {
					if r.SnapshotID == in.ID {
						by = append(by, "campaign "+r.Campaign.Name)
					}
				}
				if err := inUse("cohort "+in.ID, by); err != nil {
					return err
				}
				return s.d.Cohorts.Delete(ctx, in.ID)
			})
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/cohorts/{id}/members", ID: "listMembers", Summary: "List a cohort's members with their reasons", Tag: "cohorts", Access: access.Look, Sight: frame.ByProduct},
		func(ctx context.Context, in *memberList) (wire.Page[wire.Member], error) {
			snapshot, err := s.cohort(ctx, in.ID)
			if err != nil {
				return wire.Page[wire.Member]{}, err
			}
			list, err := s.d.Cohorts.Members(ctx, snapshot.ID, cohort.List(in.List), in.After, in.Limit+1)
			if err != nil {
				return wire.Page[wire.Member]{}, err
			}
			out := make([]wire.Member, 0, len(list))
			for _, m := range list {
				out = append(out, wire.Member{UnitID: m.UnitID, List: m.List, Code: m.Code, Reason: m.Reason, ExposureHours: m.Exposure.Hours()})
			}
			return frame.Page(out, in.Limit, func(m wire.Member) string { return m.UnitID }), nil
		})
}

// members are the units that are in a cohort.
func (s *server) members(ctx context.Context, id string) ([]string, error) {
	c, err := s.cohort(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := s.d.Cohorts.Members(ctx, c.ID, cohort.In, "", 0)
	out := make([]string, 0, len(list))
	for _, m := range list {
		out = append(out, m.UnitID)
	}
	return out, err
}

// cohort is a snapshot by its id, or the newest of a name.
func (s *server) cohort(ctx context.Context, id string) (cohort.Snapshot, error) {
	c, err := s.d.Cohorts.Snapshot(ctx, id)
	if fault.KindOf(err) != fault.NotFound {
		return c, err
	}
	if named, byName := s.d.Cohorts.SnapshotByName(ctx, id); byName == nil {
		return named, nil
	}
	return c, err
}
