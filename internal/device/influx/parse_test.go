package influx

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/gather"
)

// said writes a point plainly.
func said(p *point) string {
	var b strings.Builder
	b.Write(p.measurement)
	for _, t := range p.tags {
		fmt.Fprintf(&b, " [%s=%s]", t.key, t.value)
	}
	for _, f := range p.fields {
		fmt.Fprintf(&b, " %s=", f.key)
		switch f.value.Kind {
		case device.KindNumber:
			fmt.Fprintf(&b, "%v", f.value.Number)
		case device.KindBoolean:
			fmt.Fprintf(&b, "%v", f.value.Number == 1)
		default:
			fmt.Fprintf(&b, "%q", f.value.Text)
		}
	}
	if p.timed {
		fmt.Fprintf(&b, " @%d", p.time)
	}
	return b.String()
}

func TestLines(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`m v=1`:                                        `m v=1`,
		`m v=1 15`:                                     `m v=1 @15`,
		"m v=1 15 \r\n":                                `m v=1 @15`,
		`m,a=b,c=d v=1.5,w=-2e3,x=.5,y=+1 -7`:          `m [a=b] [c=d] v=1.5 w=-2000 x=0.5 y=1 @-7`,
		`m v=12i,w=18446744073709551615u`:              `m v=12 w=1.8446744073709552e+19`,
		`m a=t,b=T,c=true,d=True,e=TRUE`:               `m a=true b=true c=true d=true e=true`,
		`m a=f,b=F,c=false,d=False,e=FALSE`:            `m a=false b=false c=false d=false e=false`,
		`m s="a, b=\"c\" \\ \n",t=""`:                  `m s="a, b=\"c\" \\ \\n" t=""`,
		"m s=\"two\nlines\" 1":                         `m s="two\nlines" @1`,
		`my\ m\,x,t\ a\=g=v\ a\,l\=u f\ \=\,x=1`:       `my m,x [t a=g=v a,l=u] f =,x=1`,
		`m\=x v=1`:                                     `m\=x v=1`,
		`m=x v=1`:                                      `m=x v=1`,
		`C:\dir,p=C:\new v="C:\new" 1`:                 `C:\dir [p=C:\new] v="C:\\new" @1`,
		`m\\,x v=1`:                                    `m\,x v=1`,
		`"m",t="q" v=1`:                                `"m" [t="q"] v=1`,
		`temperatur,ort=Küche grad=21.5`:               `temperatur [ort=Küche] grad=21.5`,
		`  m    v=1    5`:                              `m v=1 @5`,
		`m v=1e999`:                                    `m v=+Inf`,
		"# a comment\n\n \n#\nm v=1":                   `m v=1`,
		`m v=9223372036854775807i 9223372036854775807`: `m v=9.223372036854776e+18 @9223372036854775807`,
	} {
		var p parser
		p.reset([]byte(in))
		more, err := p.next()
		require.True(t, more, in)
		require.NoError(t, err, in)
		require.Equal(t, want, said(&p.point), in)
		more, err = p.next()
		require.False(t, more, in)
		require.NoError(t, err)
	}
}

func TestLinesRefused(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]error{
		`,a=b v=1`:                  errNoMeasurement,
		`m`:                         errNoFields,
		`m `:                        errNoFields,
		`m,a=b`:                     errNoFields,
		`m,=b v=1`:                  errNoTagKey,
		`m, v=1`:                    errNoTagKey,
		`m,a v=1`:                   errNoTagValue,
		`m,a= v=1`:                  errNoTagValue,
		`m,a=b=c v=1`:               errNoTagValue,
		`m =1`:                      errNoFieldKey,
		`m v=1,`:                    errNoFieldKey,
		`m v`:                       errNoFieldValue,
		`m v=`:                      errNoFieldValue,
		`m v=,w=1`:                  errNoFieldValue,
		`m v=1,w`:                   errNoFieldValue,
		`m v="x`:                    errQuotes,
		`m v="x"y`:                  errValue,
		`m v=yes`:                   errValue,
		`m v=NaN`:                   errValue,
		`m v=-inf`:                  errValue,
		`m v=0x10`:                  errValue,
		`m v=1_000`:                 errValue,
		`m v=1.5i`:                  errValue,
		`m v=-1u`:                   errValue,
		`m v=i`:                     errValue,
		`m v=9223372036854775808i`:  errRange,
		`m v=1 now`:                 errTimestamp,
		`m v=1 1.5`:                 errTimestamp,
		`m v=1 1 2`:                 errTimestamp,
		`m v=1, w=2`:                errNoFieldKey,
		`m v=1 9223372036854775808`: errTimestamp,
	} {
		var p parser
		p.reset([]byte("ok v=1\n" + in + "\r\nok v=2"))
		_, err := p.next()
		require.NoError(t, err)
		more, err := p.next()
		require.True(t, more, in)
		require.ErrorIs(t, err, want, in)
		require.Equal(t, strings.TrimSuffix(in, "\r"), string(p.raw), in)
		require.Equal(t, 2, p.line)
		more, err = p.next()
		require.True(t, more, in)
		require.NoError(t, err, in)
		require.Equal(t, 3, p.line, in)
		require.Equal(t, `ok v=2`, said(&p.point), "the lines around stay")
	}
}

func TestLinesAreNumbered(t *testing.T) {
	t.Parallel()
	var p parser
	p.reset([]byte("# x\n\na v=1\nb s=\"1\n2\n3\"\n\r\nc v=1 7\nd\ne v=1\n"))
	var got []string
	for {
		more, err := p.next()
		if !more {
			break
		}
		got = append(got, fmt.Sprintf("%s%d %v", p.measurement, p.line, err != nil))
	}
	require.Equal(t, []string{"a3 false", "b4 false", "c8 false", "d9 true", "e10 false"}, got)
}

func TestPrecisions(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]gather.Time{
		"":   {Event: 1401624000, Nanos: 123456, Known: true},
		"u":  {Event: 1401624000123, Nanos: 456000, Known: true},
		"ms": {Event: 1401624000123456, Known: true},
		"h":  {Event: (1 << 53) / 3_600_000 * 3_600_000, Known: true},
	} {
		got := precisionsOne[name](1401624000123456)
		require.Equal(t, want, got, name)
	}
	require.Equal(t, gather.Time{Event: -1, Nanos: 999000, Known: true}, micros(-1))
	for _, at := range precisionsOne { // what does not fit is a clock beyond reason, not a panic
		at(math.MaxInt64)
		at(math.MinInt64)
	}
}

func FuzzLines(f *testing.F) {
	for _, s := range []string{
		"m,a=b v=1,w=2i,x=t,y=\"s\" 15\n", `a\,b,c\=d=e\ f g="h\"i\\" 1`, "# c\n\nx", "m v=\"\n\" 1\r\nm", "m,,= v=1u",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var p parser
		p.reset(body)
		last := 0
		for n := 0; ; n++ {
			require.LessOrEqual(t, n, len(body)+1, "it comes to an end")
			more, err := p.next()
			if !more {
				return
			}
			require.Greater(t, p.line, last)
			require.LessOrEqual(t, p.line, 1+strings.Count(string(body), "\n"))
			last = p.line
			if err != nil {
				continue
			}
			require.NotEmpty(t, p.fields)
			// What was understood is understood the same way from its own bytes.
			once := said(&p.point)
			var again parser
			again.reset([]byte(string(p.raw)))
			more, err = again.next()
			require.True(t, more)
			require.NoError(t, err)
			require.Equal(t, once, said(&again.point))
		}
	})
}

func BenchmarkLines(b *testing.B) {
	body := []byte(strings.Repeat("modbus,host=gw1,name=charger,slave_id=1 current=15.98,plug_temperature=41.25,charging=true,state=\"charging\",energy=1234567i 1401624000000000000\n", 1000))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var p parser
	for b.Loop() {
		p.reset(body)
		for {
			more, err := p.next()
			if err != nil {
				b.Fatal(err)
			}
			if !more {
				break
			}
		}
	}
}
