package billing

import (
	"maps"
	"slices"
	"strings"
)

// PrintPolicy says who prints the statements, and how.
type PrintPolicy struct {
	Vendor          string                  `json:"vendor"`             // that prints, one of vendors
	Vendors         map[string]VendorPolicy `json:"vendors"`            // by a name of the biller's own
	MaxPagesPerFile int                     `json:"max_pages_per_file"` // of a bundle, both sides of each sheet counted
	Inserts         []string                `json:"inserts"`            // codes of what goes into every envelope beside the statement
	MailerID        string                  `json:"mailer_id"`          // 6 or 9 digits, given by the Postal Service; "" for no barcode
	BarcodeID       string                  `json:"barcode_id"`         // 2 digits
	ServiceType     string                  `json:"service_type"`       // 3 digits
}

// VendorPolicy is a print vendor.
type VendorPolicy struct {
	Place     string         `json:"place"`      // of delivery.places, "" if somebody else carries the bundles
	MaxSheets int            `json:"max_sheets"` // in one envelope; a thicker statement is put before a person
	Envelope  EnvelopePolicy `json:"envelope"`
}

// EnvelopePolicy is an envelope with a window for the address, and the folded
// statement in it, in thousandths of an inch. A width of 0 is the #10 envelope
// that the page is designed for.
type EnvelopePolicy struct {
	Width        int `json:"width"`
	Height       int `json:"height"`
	Panel        int `json:"panel"`         // height of the folded statement
	WindowLeft   int `json:"window_left"`   // from the envelope's left edge
	WindowBottom int `json:"window_bottom"` // from its lower edge
	WindowWidth  int `json:"window_width"`
	WindowHeight int `json:"window_height"`
}

// DefaultPrint is one vendor whose bundles wait in the outbox.
func DefaultPrint() PrintPolicy {
	return PrintPolicy{Vendor: "printer", Vendors: map[string]VendorPolicy{"printer": {MaxSheets: 6}}, MaxPagesPerFile: 10_000, Inserts: []string{},
		MailerID: "123456", BarcodeID: "00", ServiceType: "300"}
}

// Of returns the vendor that prints.
func (p PrintPolicy) Of(vendor string) VendorPolicy { return p.Vendors[vendor] }

func (p PrintPolicy) check(r *refuser) {
	if _, known := p.Vendors[p.Vendor]; !known {
		r.refuse("vendor", "there is no vendor %q in print.vendors", p.Vendor)
	}
	if p.MaxPagesPerFile < 200 || p.MaxPagesPerFile > 100_000 {
		r.refuse("max_pages_per_file", "%d is not between 200 and 100000", p.MaxPagesPerFile)
	}
	if !digits(p.MailerID, 6, 9) && p.MailerID != "" {
		r.refuse("mailer_id", "%q is not the 6 or 9 digits that the Postal Service gives, nor empty", p.MailerID)
	}
	if !digits(p.BarcodeID, 2) || p.BarcodeID[1] > '4' {
		r.refuse("barcode_id", "%q is not 2 digits, the second 0 to 4", p.BarcodeID)
	}
	if !digits(p.ServiceType, 3) {
		r.refuse("service_type", "%q is not 3 digits", p.ServiceType)
	}
	for _, code := range p.Inserts {
		if !word(code) {
			r.refuse("inserts", "%q is not a code of 1 to 12 small letters and digits", code)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Vendors)) {
		v, at := p.Vendors[name], "vendors."+name
		if !word(name) {
			r.refuse(at, "a vendor's name is 1 to 12 small letters and digits: it stands in file names")
		}
		if v.MaxSheets < 1 || v.MaxSheets > 50 {
			r.refuse(at+".max_sheets", "%d is not between 1 and 50", v.MaxSheets)
		}
		if e := v.Envelope; e != (EnvelopePolicy{}) && (e.Width < 8500 || e.Panel < 1000 || e.Height < e.Panel || e.WindowLeft < 0 || e.WindowBottom < 0 ||
			e.WindowWidth < 1 || e.WindowLeft+e.WindowWidth > e.Width || e.WindowHeight < 1 || e.WindowBottom+e.WindowHeight > e.Height) {
			r.refuse(at+".envelope", "no such envelope takes a folded letter: want thousandths of an inch, the window inside the envelope, the panel no higher than it")
		}
	}
}

// places refuses vendors whose place is unknown.
func (p PrintPolicy) places(d DeliveryPolicy, r *refuser) {
	for _, name := range slices.Sorted(maps.Keys(p.Vendors)) {
		if place := p.Vendors[name].Place; place != "" {
			if _, known := d.Places[place]; !known {
				r.refuse("vendors."+name+".place", "there is no place %q in delivery.places", place)
			}
		}
	}
}

// digits says whether s is digits, as many as one of the lengths.
func digits(s string, lengths ...int) bool {
	return slices.Contains(lengths, len(s)) && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func word(s string) bool {
	return len(s) > 0 && len(s) <= 12 && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}
