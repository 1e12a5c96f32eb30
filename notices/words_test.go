package notices

import (
	"strings"
	"testing"

	"github.com/billcycle/billcycle/calendar"
)

// Every language says amount and date, never asks who pays by autopay to pay,
// and leaves no gap.
func TestWords(t *testing.T) {
	due, later := calendar.MustParse("2026-03-25"), calendar.MustParse("2026-03-26")
	dates := map[string][2]string{"en": {"March 25, 2026", "March 26, 2026"}, "es": {"25 de marzo de 2026", "26 de marzo de 2026"}}
	asks := map[string]string{"en": "please pay", "es": "pague"}
	if len(languages) != len(dates) {
		t.Fatalf("%d languages, %d tested", len(languages), len(dates))
	}
	for language := range languages {
		for _, c := range []struct {
			name  string
			about reminder
			date  string
			asks  bool
		}{
			{"to pay", reminder{dueOn: due}, dates[language][0], true},
			{"by autopay", reminder{dueOn: due, autopay: true, collectsOn: later}, dates[language][1], false},
			{"autopay, but not for this bill", reminder{dueOn: due, autopay: true}, dates[language][0], false},
		} {
			for _, channel := range []string{Text, Email} {
				c.about.biller, c.about.web, c.about.phone, c.about.last4, c.about.due = "The Plan", "plan.example", "1-800-555-0100", "0016", 57500
				subject, body := c.about.say(language, channel)
				if (subject == "") != (channel == Text) {
					t.Errorf("%s %s: subject %q", language, channel, subject)
				}
				all := subject + "\n" + body
				for _, part := range []string{"The Plan", "0016", "$575.00", c.date} {
					if !strings.Contains(all, part) {
						t.Errorf("%s %s %s lacks %q: %s", language, c.name, channel, part, all)
					}
				}
				if strings.Contains(strings.ToLower(all), asks[language]) != c.asks {
					t.Errorf("%s %s %s: asks to pay: %s", language, c.name, channel, all)
				}
				if strings.Contains(all, "%!") || strings.Contains(all, "  ") {
					t.Errorf("%s %s %s has a gap: %s", language, c.name, channel, all)
				}
			}
		}
	}
}

func TestLanguageOf(t *testing.T) {
	for said, want := range map[string]string{"": "en", "en": "en", "es": "es", "ES-mx": "es", "Spanish": "es", "et": "en", "est": "en", "zh": "en"} {
		if got := languageOf(said); got != want {
			t.Errorf("%q is %s, want %s", said, got, want)
		}
	}
}
