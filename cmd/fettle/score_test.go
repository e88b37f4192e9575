package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever feeds a pipe sees each row's score before sending the next.
func TestScoreOfALivePipe(t *testing.T) {
	t.Parallel()
	in, feed := io.Pipe()
	seen, out := io.Pipe()
	done := make(chan int, 1)
	go func() {
		status := run(t.Context(), []string{"score", "--warmup", "3"}, in, out, io.Discard)
		out.Close()
		in.Close()
		done <- status
	}()
	stuck := time.AfterFunc(20*time.Second, func() { in.Close(); out.Close() })
	defer stuck.Stop()
	lines := bufio.NewScanner(seen)
	fmt.Fprintln(feed, "time,value")
	require.True(t, lines.Scan())
	require.Equal(t, "time,anomaly_score,alarm,top_signal", lines.Text())
	start := time.Date(2014, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 300 {
		at := start.Add(time.Duration(i) * time.Minute).Format(time.RFC3339)
		fmt.Fprintf(feed, "%s,%d\n", at, 20+i%3)
		require.True(t, lines.Scan())
		require.Regexp(t, "^"+regexp.QuoteMeta(at)+`,0\.[0-4]\d+,0,(value)?$`, lines.Text())
	}
	fmt.Fprintf(feed, "%s,%d\n", start.Add(5*time.Hour).Format(time.RFC3339), 90)
	require.True(t, lines.Scan())
	require.Regexp(t, `^2014-01-01T05:00:00Z,0\.[5-9]\d+,1,value$`, lines.Text())
	require.NoError(t, feed.Close())
	require.Zero(t, <-done)
	require.False(t, lines.Scan())
}

// A line of any length is one row, as is the next: what is beyond a mebibyte,
// or in a quote that no line in reach closes, is gaps. So it is in memory that
// does not grow with the line.
func TestScoreOfLongLines(t *testing.T) {
	t.Parallel()
	start := time.Date(2014, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(i int) string { return start.Add(time.Duration(i) * time.Minute).Format(time.RFC3339) }
	long := map[int]string{
		120: at(120) + ",21,", 121: at(121) + `,22,"said, 3,`, 122: at(122) + ",", 123: at(123) + `,"said, 999,999,`, 124: "",
	}
	in, feed := io.Pipe()
	go func() {
		fmt.Fprintln(feed, "time,value,note")
		for i := range 200 {
			if text, ok := long[i]; ok {
				fmt.Fprint(feed, text)
				for range 64 {
					fmt.Fprint(feed, strings.Repeat("0009", 1<<14))
				}
				fmt.Fprintln(feed, ",1")
			} else {
				fmt.Fprintf(feed, "%s,%d,ok\n", at(i), 20+i%3)
			}
		}
		feed.Close()
	}()
	var out, warned bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"score"}, in, &out, &warned), warned.String())
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")[1:]
	require.Len(t, rows, 200)
	for i, row := range rows {
		if i == 124 { // its time is beyond, too
			require.Regexp(t, `^,0\.[0-4]\d+,0,`, row)
		} else {
			require.Regexp(t, "^"+at(i)+`,0\.[0-4]\d+,0,`, row)
		}
	}
	require.Equal(t, 1, strings.Count(warned.String(), "longer than"))
	require.Contains(t, warned.String(), "line 122 is longer than 1024 KiB")
}

func TestTable(t *testing.T) {
	t.Parallel()
	zipped := new(bytes.Buffer)
	z := gzip.NewWriter(zipped)
	_, err := io.WriteString(z, "\xef\xbb\xbft,v\r\n1,2\r\n")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, tt := range map[string]struct {
		in   string
		rows [][]string
		err  string
	}{
		"byte order mark, gzip":       {zipped.String(), [][]string{{"t", "v"}, {"1", "2"}}, ""},
		"no newline at the end":       {"t,v\n1,2", [][]string{{"t", "v"}, {"1", "2"}}, ""},
		"blank lines":                 {"\n\nt,v\n\n1,2\n\n\n", [][]string{{"t", "v"}, {"1", "2"}}, ""},
		"tabs":                        {"t\tv\n1\t\n", [][]string{{"t", "v"}, {"1", ""}}, ""},
		"a field over two lines":      {"t,v\n\"a\nb\",2\n", [][]string{{"t", "v"}, {"a\nb", "2"}}, ""},
		"a quote that means inches":   {"t,v\n19\" rack,2\n1,3\n", [][]string{{"t", "v"}, {"19\" rack", "2"}, {"1", "3"}}, ""},
		"a quote after a field's end": {"t,v,w\n0,\"a \"b\" c,1\n2,\"x\"\"y\" z,3\n", [][]string{{"t", "v", "w"}, {"0", `a b" c`, "1"}, {"2", `x"y z`, "3"}}, ""},
		"a quote that never closes":   {"t,v\n\"a,2\n1,2\n3,4\n", [][]string{{"t", "v"}, {`"a`, "2"}, {"1", "2"}, {"3", "4"}}, ""},
		"a quote that closes too far": {"t,v\n1,\"2" + strings.Repeat("\n1,2", 20_000), append([][]string{{"t", "v"}, {"1", `"2`}}, slices.Repeat([][]string{{"1", "2"}}, 20_000)...), ""},
		"a blank before a quote":      {"t, v\n1, \"2\"\n", [][]string{{"t", "v"}, {"1", "2"}}, ""},
		"a line for Excel":            {"sep=;\r\nt;v\r\n1;2\r\n", [][]string{{"t", "v"}, {"1", "2"}}, ""},
		"carriage returns alone":      {"t,v\r1,2\r", nil, "lines end in a carriage return alone"},
		"many carriage returns":       {strings.Repeat("t,v\r", 1<<19), nil, "lines end in a carriage return alone"},
		"a line without end":          {"t,v\n" + strings.Repeat("1,", 1<<20), [][]string{{"t", "v"}}, "line 2 is longer than 1024 KiB: shorten"},
		"another alphabet's encoding": {"\xff\xfet\x00,\x00v\x00", nil, "UTF-16"},
		"no text":                     {"\x7fELF\x00\x01,\n", nil, "this is not text"},
		"nothing":                     {"", nil, "empty"},
		"numbers for a header":        {"1,2\n3,4\n", nil, "no column names"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rows [][]string
			tab, err := newTable(strings.NewReader(tt.in))
			if err == nil {
				rows = append(rows, tab.Header)
				var row []string
				for row, err = tab.Next(); err == nil; row, err = tab.Next() {
					rows = append(rows, append([]string(nil), row...))
				}
			}
			require.Equal(t, tt.rows, rows)
			if tt.err == "" {
				require.ErrorIs(t, err, io.EOF)
			} else {
				require.ErrorContains(t, err, tt.err)
			}
		})
	}
}

func FuzzTable(f *testing.F) {
	f.Add("t,v\n1,2\n\"a\nb\",\"3\"\"\"\n")
	f.Add("\xef\xbb\xbft;v\r\n19\";2\r\n")
	f.Add("sep=,\nt,v\n1,\"2\n3,4\n")
	f.Fuzz(func(t *testing.T, in string) {
		tab, err := newTable(strings.NewReader(in))
		for last := 0; err == nil; { // each row begins below the one before
			if _, err = tab.Next(); err == nil {
				require.Greater(t, tab.begun, last)
				last = tab.begun
			}
		}
	})
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for sep, values := range map[byte]map[string]float64{
		',': {"1.5": 1.5, " 2 ": 2, "-1e3": -1000, "true": 1, "FALSE": 0},
		';': {"1,5": 1.5, "1.5": 1.5, "True": 1},
	} {
		for s, want := range values {
			got, ok := (&table{comma: sep}).number(s)
			require.True(t, ok, s)
			require.InDelta(t, want, got, 0, s)
		}
	}
	for _, s := range []string{"", "n/a", "NaN", "inf", "-Infinity", "1e400", "1,5", "t", "yes"} {
		_, ok := (&table{comma: ','}).number(s)
		require.False(t, ok, s)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	want := time.Date(2014, 3, 2, 13, 5, 0, 0, time.UTC).UnixMilli()
	for _, s := range []string{
		"2014-03-02 13:05:00", "2014-03-02 13:05:00.000000", "2014-03-02T13:05:00Z", "2014-03-02T14:05:00+01:00", "2014-03-02T13:05", "2014-03-02 13:05",
		"2014/03/02 13:05", "02.03.2014 13:05", "2.3.2014 13:05", "03/02/2014 13:05", "3/2/2014 13:05:00", "3/2/2014 1:05 PM", "Sun, 02 Mar 2014 13:05:00 UTC", " 2014-03-02 13:05:00 ",
		"1393765500", "1393765500.0", "1393765500000", "1393765500000000", "1393765500000000000",
	} {
		got, ok := new(timeReader).read(s)
		require.True(t, ok, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "17", "17.5", "99999999", "yesterday", "2014-13-02 13:05:00", "NaN", "inf", "-1393765500"} {
		_, ok := new(timeReader).read(s)
		require.False(t, ok, s)
	}
	var clock timeReader // times of day go on over midnight
	last := int64(-1)
	for _, s := range []string{"9:39:39", "23:59:59", "00:00:09", "14:00:00", "01:00:00"} {
		at, ok := clock.read(s)
		require.True(t, ok, s)
		require.Greater(t, at, last, s)
		last = at
	}
}
