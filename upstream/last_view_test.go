package upstream

import "testing"

func TestLastView(t *testing.T) {
	w := newWorld(t)
	if v, ok := w.replica.LastView(); ok {
		t.Errorf("a view of nothing: %+v", v)
	}
	w.refresh()
	served, err := w.replica.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, ok := w.replica.LastView()
	if !ok || v.Checkpoint != served.Checkpoint || !v.VerifiedAt.Equal(served.VerifiedAt) {
		t.Errorf("%+v, want %+v", v, served)
	}
	w.publish("test:a", "1.0.0")
	if later, _ := w.replica.LastView(); later.Checkpoint != served.Checkpoint {
		t.Error("the last view asked upstream")
	}
}
