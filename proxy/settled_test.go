package proxy

import (
	"context"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// deciding is a registry that is processing a record and decides as soon as it is
// waited for, or never.
type deciding struct {
	Own
	never bool
}

func (d deciding) Record(_ context.Context, _ warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	return warg.RecordStatus{RecordID: id, State: warg.StateProcessing}, nil
}

func (d deciding) Settled(ctx context.Context, _ warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	if d.never {
		<-ctx.Done()
		return warg.RecordStatus{}, ctx.Err()
	}
	return warg.RecordStatus{RecordID: id, State: warg.StatePublished, Index: 7}, nil
}

// TestRecordWaitsForTheDecision: a client that read "processing" would sleep for a
// second, so the answer waits a moment for what is decided in milliseconds.
func TestRecordWaitsForTheDecision(t *testing.T) {
	for name, c := range map[string]struct {
		never bool
		want  string
	}{
		"decided":     {false, `"published"`},
		"not decided": {true, `"processing"`},
	} {
		t.Run(name, func(t *testing.T) {
			st := newSite(t, func(o *Options) { o.Own = deciding{o.Own, c.never} })
			log, id := mustName("a:b").LogID(), warg.RecordID(warg.Sum([]byte(name)))
			answer := st.get("/v1/package/" + log.String() + "/record/" + id.String())
			if !strings.Contains(answer.body, c.want) {
				t.Errorf("answer %+v; want %s", answer, c.want)
			}
		})
	}
}
