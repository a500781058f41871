package e2e

import (
	"database/sql"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Real servers take the connection strings of applications.
func TestConnectionStrings(t *testing.T) {
	pg := postgres(t)
	for _, in := range []string{
		"postgresql+psycopg2://app:" + urlPassword + "@" + pg.addr() + "/app",
		"postgresql+asyncpg://app:" + urlPassword + "@" + pg.addr() + "/app?ssl=prefer",
		"jdbc:postgresql://" + pg.addr() + "/app?user=app&password=" + urlPassword + "&ApplicationName=x&ssl=true",
		"postgresql://app:" + urlPassword + "@" + pg.addr() + "/app?schema=public&connection_limit=5&pool_timeout=2",
		"postgresql://app:" + urlPassword + "@" + pg.addr() + "/app?serverVersion=16&charset=utf8",
		"postgres://app:" + urlPassword + "@" + pg.addr() + "/app?gssencmode=disable&keepalives=1&keepalives_idle=30&channel_binding=prefer",
		"postgres://app:" + urlPassword + "@nosuchhost.invalid:" + pg.port + "/app?hostaddr=127.0.0.1",
		"postgres://app:" + urlPassword + "@127.0.0.1:1," + pg.addr() + "/app",
		"postgres://app:" + urlPassword + "@" + strings.ReplaceAll(pg.dir, "/", "%2F") + ":" + pg.port + "/app",
	} {
		want(t, in, 0)
	}
	want(t, "postgres://app:"+urlPassword+"@"+pg.addr()+"/app?options=-c%20statement_timeout%3D200ms&query=SELECT+pg_sleep(600)", 1, "statement timeout")
	want(t, "postgres://app:"+urlPassword+"@"+pg.addr()+"/app?query=SHOW+statement_timeout&expect=1s&options=-c%20statement_timeout%3D1s", 0)
	want(t, "postgres://app:"+urlPassword+"@"+pg.addr()+"/app?query=SELECT+false&expect=t", 1, `the query answered "f", want "t"`)
	want(t, "postgres://app:"+urlPassword+"@"+pg.addr()+"/app?query=SELECT+1+WHERE+false&expect=1", 1, `the query answered no row, want "1"`)
	want(t, "postgres://app:"+urlPassword+"@"+pg.addr()+"/app?nonsense=1", 1, "unrecognized configuration parameter", "nonsense")

	my := mariadb(t)
	for _, in := range []string{
		"mysql+pymysql://app:" + urlPassword + "@" + my.addr() + "/app?charset=utf8mb4",
		"mariadb://app:" + urlPassword + "@" + my.addr() + "/app?serverVersion=10.11.2-MariaDB&charset=utf8mb4",
		"jdbc:mysql://" + my.addr() + "/app?user=app&password=" + urlPassword + "&useSSL=false&serverTimezone=UTC",
		"mysql://root@" + strings.ReplaceAll(my.dir+"/sock", "/", "%2F") + "/app",
		"mysql+pymysql://root@localhost/app?unix_socket=" + my.dir + "/sock",
		"mysql://root@x/?socket=" + my.dir + "/sock&innodb_initialized=true&writable=true",
		"mysql://app:" + urlPassword + "@" + my.addr() + "/app?query=SELECT+2&expect=2",
	} {
		want(t, in, 0)
	}
	want(t, "mysql://app:"+urlPassword+"@"+my.addr()+"/app?query=SELECT+false&expect=1", 1, `the query answered "0", want "1"`)
	root := "mysql://root@x/?socket=" + my.dir + "/sock"
	want(t, root+"&galera_online=true", 1, "the wsrep_local_state of Galera is")
	want(t, root+"&replication=true", 1, "the server replicates from nobody")

	re := startRedis(t, "--requirepass", password)
	re.untilHealthy(t, "redis://:"+urlPassword+"@"+re.addr())
	want(t, "redis://"+re.addr()+"?password="+urlPassword+"&db=2&decode_responses=true", 0)
	want(t, "valkey://:"+urlPassword+"@"+re.addr()+"/2", 0)
	want(t, "redis://:"+urlPassword+"@"+re.addr()+"?db=99", 1, "DB index is out of range")
}

// What MariaDB answers to users and in states that a ping passes.
func TestMariaDBStates(t *testing.T) {
	s := startMariaDB(t, "--server-id=2", "--disconnect-on-expired-password=OFF")
	db := openMaria(t, s)
	exec := func(q string) {
		t.Helper()
		if _, err := db.Exec(q); err != nil {
			t.Fatal(q, err)
		}
	}
	base := "mysql://app:" + urlPassword + "@" + s.addr() + "/app"
	root := "mysql://root@x/?socket=" + s.dir + "/sock"
	want(t, base, 0, "session and query answered")
	exec("CREATE USER old IDENTIFIED BY '" + password + "' PASSWORD EXPIRE")
	want(t, "mysql://old:"+urlPassword+"@"+s.addr(), 1, "the password has expired")
	exec("CREATE USER locked IDENTIFIED BY '" + password + "' ACCOUNT LOCK")
	want(t, "mysql://locked:"+urlPassword+"@"+s.addr(), 1, "the account is locked", "4151")
	exec("SET GLOBAL read_only = ON")
	want(t, base, 0)
	want(t, base+"?writable=true", 1, "the server is read-only")
	exec("SET GLOBAL read_only = OFF")
	want(t, base+"?writable=true", 0)
	exec("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='x'")
	want(t, root+"&replication=true", 1, `replication: IO_Running is`)
	want(t, base, 0)
	want(t, base+"?replication=true", 1, "not permitted", "1227")
}

// A replica of a real master: healthy, then stopped.
func TestMariaDBReplication(t *testing.T) {
	master := startMariaDB(t, "--server-id=1", "--log-bin=mysql-bin")
	db := openMaria(t, master)
	if _, err := db.Exec("CREATE USER repl IDENTIFIED BY 'repl'"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("GRANT REPLICATION SLAVE ON *.* TO repl"); err != nil {
		t.Fatal(err)
	}
	var file string
	var pos int64
	if err := db.QueryRow("SHOW MASTER STATUS").Scan(&file, &pos, new(sql.NullString), new(sql.NullString)); err != nil {
		t.Fatal(err)
	}
	replica := startMariaDB(t, "--server-id=2")
	rdb := openMaria(t, replica)
	if _, err := rdb.Exec("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=" + master.port + ", MASTER_USER='repl', MASTER_PASSWORD='repl', MASTER_USE_GTID=no, MASTER_LOG_FILE='" + file + "', MASTER_LOG_POS=" + strconv.FormatInt(pos, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := rdb.Exec("START SLAVE"); err != nil {
		t.Fatal(err)
	}
	root := "mysql://root@x/?socket=" + replica.dir + "/sock"
	replica.untilHealthy(t, root+"&replication=true&max_lag=1h")
	if _, err := rdb.Exec("STOP SLAVE SQL_THREAD"); err != nil {
		t.Fatal(err)
	}
	want(t, root+"&replication=true", 1, `replication: SQL_Running is "No", want Yes`)
}

// Real Redis servers that answer PING and take no writes.
func TestRedisThatTakesNoWrites(t *testing.T) {
	s := startRedis(t)
	base := "redis://" + s.addr()
	s.untilHealthy(t, base)
	want(t, base+"?writable=true", 0)
	if keys := cli(t, s, "dbsize"); !strings.Contains(keys, "0") {
		t.Errorf("the probe wrote: %s", keys)
	}
	cli(t, s, "config", "set", "maxmemory", "1")
	want(t, base, 0, "PONG, master")
	want(t, base+"?writable=true", 1, "out of memory, and its policy evicts nothing")
	cli(t, s, "config", "set", "maxmemory", "0")
	cli(t, s, "config", "set", "min-replicas-to-write", "1")
	want(t, base+"?writable=true", 1, "too few replicas")
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+s.port)
	replica.untilHealthy(t, "redis://"+replica.addr())
	want(t, "redis://"+replica.addr()+"?writable=true", 1, "READONLY")
	want(t, "redis://"+replica.addr()+"?role=replica", 0)
	want(t, "redis://"+replica.addr()+"?role=master", 1, `its role is "replica", want "master"`)

	cluster := startRedis(t, "--cluster-enabled", "yes")
	eventually(t, "the cluster is down", func() (string, bool) {
		out, code := probe(t, "redis://"+cluster.addr()+"?writable=true")
		return out, code == 1 && strings.Contains(out, "the cluster is down")
	})
}

// A standby of a real primary that goes away.
func TestPostgresStandbyWithoutItsPrimary(t *testing.T) {
	primary := pgVariant(t, map[string]string{"pg_hba.conf": "host all,replication all 127.0.0.1/32 trust\n"}, "ssl = off\nwal_level = replica")
	base := "postgres://app@" + primary.addr() + "/postgres"
	primary.untilHealthy(t, base)
	want(t, base+"?replication=true", 1, "a primary, want a standby")
	dir, cred := serverDir(t, "postgres")
	standby := &server{dir: dir, port: freePort(t)}
	as(t, cred, dir, filepath.Join(postgresBin(t), "pg_basebackup"), "-h", "127.0.0.1", "-p", primary.port, "-U", "app", "-D", dir+"/data", "-R", "--no-sync", "-c", "fast")
	startServer(t, standby, cred, nil, filepath.Join(postgresBin(t), "postgres"), "-D", dir+"/data", "-c", "port="+standby.port, "-c", "unix_socket_directories="+dir)
	target := "postgres://app@" + standby.addr() + "/postgres"
	standby.untilHealthy(t, target+"?replication=true&max_lag=10m")
	want(t, target+"?replication=true", 0, "a standby that receives from its primary")
	want(t, target+"?replication=true&query=SELECT+1%3B&expect=1", 0)
	want(t, target+"?writable=true", 1, "writable= wants")
	primary.cmd.Process.Signal(syscall.SIGQUIT)
	eventually(t, "the standby notices", func() (string, bool) {
		out, code := probe(t, target+"?replication=true")
		return out, code == 1 && strings.Contains(out, "its primary is gone")
	})
	want(t, target, 0, "a standby in recovery")
}
