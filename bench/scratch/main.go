package main

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

var db *sql.DB

func run(name, q string) {
	b, c := time.Now(), cpu()
	if _, err := db.Exec(q); err != nil {
		fmt.Println(name, err)
		os.Exit(1)
	}
	fmt.Printf("%-30s %8.0f ms  cpu %8.0f ms\n", name, float64(time.Since(b).Microseconds())/1000, float64((cpu()-c).Microseconds())/1000)
}

func main() {
	os.RemoveAll("/tmp/scratch.duckdb")
	var err error
	db, err = sql.Open("duckdb", "/tmp/scratch.duckdb?memory_limit=1024MiB&threads=2")
	if err != nil {
		panic(err)
	}
	n := 1000000
	units := 10000
	var cols, aggs []string
	for i := range 10 {
		cols = append(cols, fmt.Sprintf("round(random()*100,1) AS v%d", i))
		aggs = append(aggs, fmt.Sprintf("count(v%[1]d) n%[1]d, count(CASE WHEN v%[1]d<>0 THEN 1 END) z%[1]d, sum(v%[1]d) s%[1]d, min(v%[1]d) lo%[1]d, max(v%[1]d) hi%[1]d, arg_max(v%[1]d, rowid) la%[1]d, max(CASE WHEN v%[1]d IS NOT NULL THEN event END) at%[1]d", i))
	}
	run("fill", fmt.Sprintf("CREATE TABLE hot AS SELECT (i//512)::BIGINT seq, (i%%512)::INTEGER idx, (hash(i%%%d)//2)::BIGINT unit, 1400000000000+(i//%d)*10000+(i%%%d) AS event, event+5 AS received, i::BIGINT AS sequence, 0::INTEGER a, 0::INTEGER b, 0::INTEGER c, %s FROM range(%d) t(i)", units, units, units, strings.Join(cols, ","), n))
	run("checkpoint", "CHECKPOINT")
	run("sort", "CREATE TABLE part AS SELECT * FROM hot ORDER BY unit, event, seq, idx")
	run("checkpoint", "CHECKPOINT")
	run("minute", "CREATE TABLE rmin AS SELECT unit, (event//60000)*60000 AS bucket,"+strings.Join(aggs, ",")+" FROM part GROUP BY ALL ORDER BY unit, bucket")
	run("hour", "CREATE TABLE rhour AS SELECT unit, (event//3600000)*3600000 AS bucket,"+strings.Join(aggs, ",")+" FROM part GROUP BY ALL ORDER BY unit, bucket")

	mk := func(f string) string {
		var l []string
		for i := range 10 {
			l = append(l, fmt.Sprintf(f, i))
		}
		return strings.Join(l, ",")
	}
	g := " FROM part GROUP BY ALL"
	run("basic4", "CREATE TABLE r1 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("count(v%[1]d) n%[1]d,sum(v%[1]d) s%[1]d, min(v%[1]d) lo%[1]d, max(v%[1]d) hi%[1]d")+g)
	run("basic4+order", "CREATE TABLE r2 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("count(v%[1]d) n%[1]d,sum(v%[1]d) s%[1]d, min(v%[1]d) lo%[1]d, max(v%[1]d) hi%[1]d")+g+" ORDER BY unit, bucket")
	run("argmax", "CREATE TABLE r3 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("arg_max(v%[1]d, rowid) la%[1]d")+g)
	run("last", "CREATE TABLE r4 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("last(v%[1]d) la%[1]d")+g)
	run("at", "CREATE TABLE r5 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("max(CASE WHEN v%[1]d IS NOT NULL THEN event END) la%[1]d")+g)
	run("sum", "CREATE TABLE r6 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("sum(v%[1]d) la%[1]d")+g)
	run("min", "CREATE TABLE r7 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("min(v%[1]d) la%[1]d")+g)
	run("count", "CREATE TABLE r8 AS SELECT unit, (event//60000)*60000 AS bucket,"+mk("count(v%[1]d) la%[1]d")+g)
	run("hour from minute", "CREATE TABLE r9 AS SELECT unit, (bucket//3600000)*3600000 AS bucket,"+mk("sum(n%[1]d)::INTEGER n%[1]d,sum(s%[1]d) s%[1]d, min(lo%[1]d) lo%[1]d, max(hi%[1]d) hi%[1]d")+" FROM r1 GROUP BY ALL ORDER BY ALL")
	run("distinct", "CREATE TEMP TABLE d AS SELECT count(*) FROM (SELECT DISTINCT unit, event//60000 FROM part)")
	run("one", "CREATE TEMP TABLE d1 AS SELECT event, v1 FROM part WHERE unit = (SELECT unit FROM part LIMIT 1)")
	run("onehot", "CREATE TEMP TABLE d2 AS SELECT event, v1 FROM hot WHERE unit = (SELECT unit FROM part LIMIT 1)")
	run("window seq", "CREATE TEMP TABLE d3 AS SELECT * FROM part WHERE seq BETWEEN 500 AND 900 ORDER BY seq, idx")
	run("lasthot", "CREATE TEMP TABLE d4 AS SELECT unit, arg_max(v1, event::HUGEINT*18446744073709551616+rowid) FROM hot GROUP BY unit")
	run("copy parquet", "COPY part TO '/tmp/x.parquet' (FORMAT parquet, COMPRESSION zstd)")
	st, _ := os.Stat("/tmp/scratch.duckdb")
	fmt.Println(st.Size())
}
