package jobs

import (
	"testing"
	"time"
)

func TestNextNight(t *testing.T) {
	zone, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ after, at, day string }{
		{"2026-03-05T12:00:00-08:00", "2026-03-06T03:30:00-08:00", "2026-03-06"},
		{"2026-03-06T03:29:59-08:00", "2026-03-06T03:30:00-08:00", "2026-03-06"},
		{"2026-03-06T03:30:00-08:00", "2026-03-07T03:30:00-08:00", "2026-03-07"},
		{"2026-03-08T01:00:00-08:00", "2026-03-08T03:30:00-07:00", "2026-03-08"}, // the night that loses an hour
		{"2026-11-01T00:30:00-07:00", "2026-11-01T03:30:00-08:00", "2026-11-01"}, // the night that has one twice: still once
		{"2026-11-01T03:30:00-08:00", "2026-11-02T03:30:00-08:00", "2026-11-02"},
		{"2026-03-06T12:00:00Z", "2026-03-07T03:30:00-08:00", "2026-03-07"}, // whatever zone the moment is told in
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		at, day, err := NextNight(after, zone)
		if err != nil || at.Format(time.RFC3339) != c.at || day.String() != c.day {
			t.Errorf("after %s: %s of %s, %v; want %s of %s", c.after, at.Format(time.RFC3339), day, err, c.at, c.day)
		}
	}
}
