package guestlink

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var (
	errBroke    = errors.New("the channel broke")
	errNonsense = fmt.Errorf("wait for a snapshot: %w", ErrMalformed)
)

func TestPausesBetweenSessions(t *testing.T) {
	const short, long = time.Second, lasting
	tests := map[string]struct {
		before []error       // how short sessions ended
		lasted time.Duration // of the session after them
		err    error
		abused bool
		want   time.Duration
	}{
		"a channel that broke is dialed soon":        {nil, long, errBroke, false, dialPause},
		"one that breaks again and again, later":     {[]error{errBroke, errBroke}, short, errBroke, false, 4 * dialPause},
		"but soon enough":                            {make([]error, 20), short, errBroke, false, maxDialPause},
		"nonsense is not asked for soon again":       {[]error{errNonsense, errNonsense}, short, errNonsense, false, 4 * dialPause},
		"and hardly ever, in the end":                {repeat(errNonsense, 20), short, errNonsense, false, maxMalformedPause},
		"a short session in between changes nothing": {append(repeat(errNonsense, 20), errBroke), short, errNonsense, false, maxMalformedPause},
		"a session that lasted makes up for it":      {repeat(errNonsense, 20), long, errBroke, false, dialPause},
		"nonsense after it is a first one":           {repeat(errNonsense, 20), long, errNonsense, false, dialPause},
		"what a guest made us hold is let go of":     {nil, short, errBroke, true, streamCloseTimeout},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var p pauses
			for _, err := range tt.before {
				p.after(err, short, false)
			}
			assert.Equal(t, tt.want, p.after(tt.err, tt.lasted, tt.abused))
		})
	}
	t.Run("abuse counts as nonsense does", func(t *testing.T) {
		var p pauses
		p.after(errBroke, short, true)
		assert.Equal(t, maxMalformedPause, p.after(errBroke, short, true))
	})
}

func repeat(err error, count int) []error {
	all := make([]error, count)
	for i := range all {
		all[i] = err
	}
	return all
}
