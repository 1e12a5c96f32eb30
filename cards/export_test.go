package cards

// NewStripe is for tests that can't wait as long as a night may.
var NewStripe = newStripe
