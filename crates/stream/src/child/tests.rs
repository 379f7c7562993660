use super::*;
use std::time::Instant;

fn sh(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

#[tokio::test]
async fn output_and_status_are_told() {
    let cancel = CancellationToken::new();
    let output = sh("echo out; echo err >&2").output(&cancel).await.unwrap();
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr.trim(), "err");
    let error = sh("echo why >&2; exit 3")
        .output(&cancel)
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), Some(3));
    assert_eq!(error.to_string(), "sh failed with exit status 3: why");
    let gone = Program::new("/no/such").output(&cancel).await.unwrap_err();
    assert!(matches!(gone, ChildError::NotStarted { .. }));
}

#[tokio::test]
async fn input_is_passed_on_and_an_early_end_breaks_the_pipe() {
    let cancel = CancellationToken::new();
    let (read, mut write) = io::pipe().unwrap();
    let writer = std::thread::spawn(move || write.write_all(b"one\ntwo\n"));
    let output = sh("wc -l").output_on(read, &cancel).await.unwrap();
    assert_eq!(output.stdout.trim_ascii(), b"2");
    writer.join().unwrap().unwrap();
    let (read, mut write) = io::pipe().unwrap();
    let writer = std::thread::spawn(move || write.write_all(&vec![b'x'; 1 << 20]));
    let error = sh("exit 3").output_on(read, &cancel).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(3));
    assert_eq!(
        writer.join().unwrap().unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[tokio::test]
async fn a_low_priority_is_given() {
    let cancel = CancellationToken::new();
    // It is given right after the start.
    let program = sh("sleep 0.2; nice").low_priority();
    let text = program.output(&cancel).await.unwrap().stdout;
    assert_eq!(text, b"19\n");
}

#[tokio::test]
async fn the_environment_is_only_what_was_given() {
    let cancel = CancellationToken::new();
    let program = sh("env").envs([("PGUSER".to_owned(), "u".to_owned())]);
    let text = String::from_utf8(program.output(&cancel).await.unwrap().stdout).unwrap();
    assert!(text.contains("PGUSER=u"));
    assert!(!text.contains("CARGO"), "{text}");
}

#[tokio::test]
async fn output_followed_by_a_failure_yields_no_proof() {
    let cancel = CancellationToken::new();
    let error = sh("echo half; exit 1")
        .stream_into(Vec::new(), &cancel)
        .await
        .unwrap_err();
    assert!(matches!(error, ChildError::Failed { .. }));
    let error = sh("echo half; kill -9 $$")
        .stream_into(Vec::new(), &cancel)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("signal 9"));
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_program() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let began = Instant::now();
    let error = sh("while :; do echo x; done")
        .stream_into(Full, &CancellationToken::new())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ChildError::Sink { .. }));
    assert!(began.elapsed() < GRACE);
}

#[tokio::test]
async fn cancellation_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let program = sh(&format!(
        "sleep 600 & echo $! > {}; wait",
        pid_file.display()
    ));
    let cancel = CancellationToken::new();
    let later = cancel.clone();
    let watched = pid_file.clone();
    tokio::spawn(async move {
        while std::fs::read_to_string(&watched)
            .unwrap_or_default()
            .trim()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        later.cancel();
    });
    let error = program
        .stream_into(io::sink(), &cancel)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ChildError::Cancelled { .. }));
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let status = format!("/proc/{}/status", pid.trim());
    // The kernel takes the killed process away in its own time; a process that was not killed stays for ten minutes.
    while std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("State:\tZ")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn only_the_tail_of_a_long_complaint_is_kept() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1";
    let error = sh(script)
        .output(&CancellationToken::new())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("line 2999"));
    assert!(text.len() < STDERR_BYTES + 200);
}
