package jobs

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/billcycle/billcycle/calendar"
)

// NightAt is when a night begins, as cron writes it, in the biller's time
// zone: after the hours that a change of daylight saving time skips or doubles.
const NightAt = "30 3 * * *"

// NextNight returns when the next night begins after a moment, and the business
// date that it works on. Cron is an alarm clock only: what has run is told by
// the run rows, so a night that was missed is run by its date, not by its hour.
func NextNight(after time.Time, zone *time.Location) (at time.Time, day calendar.Date, err error) {
	night, err := cron.ParseStandard(NightAt)
	if err != nil {
		return at, 0, fmt.Errorf("schedule %q: %w", NightAt, err)
	}
	at = night.Next(after.In(zone))
	return at, calendar.On(at, zone), nil
}
