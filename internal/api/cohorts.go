package api

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/cohort"
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
	IDParam
	wire.PageParams
	List string `query:"list" enum:"in,out,not judgeable"`
}

func (s *server) cohorts() {
	add(s, route{
		method: http.MethodPost, path: "/v1/cohorts", id: "createCohort", summary: "Freeze a cohort",
		doc: "Computed in the background: look at state.", tag: "cohorts", access: write, status: http.StatusCreated,
	}, func(ctx context.Context, in *cohortIn) (cohort.Snapshot, error) {
		return s.d.Cohorts.Create(ctx, in.Body.Definition, who(ctx).Email)
	})
	add(s, route{method: http.MethodGet, path: "/v1/cohorts", id: "listCohorts", summary: "List cohorts, newest first", tag: "cohorts", access: read},
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
			return pageAfter(named, in.PageParams, func(c cohort.Snapshot) string { return c.ID }), nil
		})
	add(s, route{method: http.MethodGet, path: "/v1/cohorts/{id}", id: "getCohort", summary: "A cohort", tag: "cohorts", access: read},
		func(ctx context.Context, in *IDParam) (cohort.Snapshot, error) {
			return s.d.Cohorts.Snapshot(ctx, in.ID)
		})
	do(s, route{method: http.MethodDelete, path: "/v1/cohorts/{id}", id: "deleteCohort", summary: "Delete a cohort", doc: "409 while a campaign has frozen it.", tag: "cohorts", access: write},
		func(ctx context.Context, in *IDParam) error {
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
	add(s, route{method: http.MethodGet, path: "/v1/cohorts/{id}/members", id: "listMembers", summary: "List a cohort's members with their reasons", tag: "cohorts", access: read},
		func(ctx context.Context, in *memberList) (wire.Page[wire.Member], error) {
			if _, err := s.d.Cohorts.Snapshot(ctx, in.ID); err != nil {
				return wire.Page[wire.Member]{}, err
			}
			list, err := s.d.Cohorts.Members(ctx, in.ID, cohort.List(in.List), in.After, in.Limit+1)
			if err != nil {
				return wire.Page[wire.Member]{}, err
			}
			out := make([]wire.Member, 0, len(list))
			for _, m := range list {
				out = append(out, wire.Member{UnitID: m.UnitID, List: m.List, Code: m.Code, Reason: m.Reason, ExposureHours: m.Exposure.Hours()})
			}
			return page(out, in.Limit, func(m wire.Member) string { return m.UnitID }), nil
		})
}
