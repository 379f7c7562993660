//! A gzip writer that uses every core: each block is a gzip member of its own (RFC 1952 §2.2: a file is a series of members), so
//! `gunzip` reads the file, and no block waits for another.
//!
//! One feeder (the caller) fills blocks, workers compress them by libdeflate, one writer hands them on in order. Blocks that do not
//! shrink, such as images and video, are stored.

use std::io::{self, Write};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use libdeflater::{CompressionLvl, Compressor};

/// Bytes of a block before compression. DEFLATE looks back 32 KiB, so larger blocks gain almost nothing; each costs two such buffers.
const BLOCK_BYTES: usize = 512 * 1024;
/// Blocks on their way per worker: one being compressed, one waiting, one being written.
const BLOCKS_PER_WORKER: usize = 3;
/// Pieces of a block that are tried before the whole is.
const SAMPLES: usize = 4;
const SAMPLE_BYTES: usize = 4 * 1024;
/// A sample that shrinks by less than this part of itself stands for a block that is better stored.
const WORTH_ONE_IN: usize = 32;
/// libdeflate's fastest level that searches at all.
const PROBE_LEVEL: i32 = 1;
/// Level 0 frames the bytes as they are.
const STORE_LEVEL: i32 = 0;

/// Writes gzip to `W` on worker threads.
pub struct GzipWriter<W: Write + Send + 'static> {
    block: Vec<u8>,
    any: bool,
    jobs: Option<Sender<Job>>,
    order: Option<Sender<Receiver<Vec<u8>>>>,
    empty: Receiver<Vec<u8>>,
    workers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<io::Result<W>>>,
}

struct Job {
    raw: Vec<u8>,
    done: Sender<Vec<u8>>,
}

impl<W: Write + Send + 'static> GzipWriter<W> {
    /// Starts `threads` workers at `level` (1–12 as libdeflate counts them).
    ///
    /// # Errors
    /// When a thread cannot be started or the level is none.
    pub fn new(mut sink: W, level: u8, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let level = CompressionLvl::new(i32::from(level))
            .map_err(|_| io::Error::other("no such gzip level"))?;
        let blocks = threads * BLOCKS_PER_WORKER;
        let (jobs, todo) = bounded::<Job>(blocks);
        let (order, ordered) = bounded::<Receiver<Vec<u8>>>(blocks);
        let (recycle, empty) = bounded(blocks);
        for _ in 0..blocks {
            // The channel holds as many as are sent here; its receiver is in our hands.
            let _ = recycle.send(Vec::new());
        }
        let mut workers = Vec::with_capacity(threads);
        for _ in 0..threads {
            let (todo, recycle) = (todo.clone(), recycle.clone());
            let worker = std::thread::Builder::new()
                .name("gzip".to_owned())
                .spawn(move || work(&todo, &recycle, level))?;
            workers.push(worker);
        }
        let writer = std::thread::Builder::new()
            .name("gzip-write".to_owned())
            .spawn(move || {
                while let Ok(next) = ordered.recv() {
                    let Ok(member) = next.recv() else {
                        return Err(io::Error::other("a compression thread ended early"));
                    };
                    sink.write_all(&member)?;
                }
                Ok(sink)
            })?;
        Ok(Self {
            block: Vec::new(),
            any: false,
            jobs: Some(jobs),
            order: Some(order),
            empty,
            workers,
            writer: Some(writer),
        })
    }

    /// Compresses and writes what remains and gives the sink back.
    ///
    /// # Errors
    /// The sink's first error.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() || !self.any {
            // What it cannot send, the writer's own error explains below.
            let _ = self.send_block();
        }
        self.join()
    }

    fn send_block(&mut self) -> io::Result<()> {
        let raw = std::mem::take(&mut self.block);
        let (done, result) = bounded(1);
        self.any = true;
        let sent = match (&self.order, &self.jobs) {
            (Some(order), Some(jobs)) => {
                order.send(result).is_ok() && jobs.send(Job { raw, done }).is_ok()
            }
            _ => false,
        };
        if sent {
            return Ok(());
        }
        Err(match self.join() {
            Err(error) => error,
            Ok(_) => io::Error::other("the gzip writer has ended"),
        })
    }

    /// Ends all threads and says how the writing went.
    fn join(&mut self) -> io::Result<W> {
        self.jobs = None;
        self.order = None;
        for worker in self.workers.drain(..) {
            // A panic there drops its job, which the writer reports.
            let _ = worker.join();
        }
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the gzip writing thread panicked")),
            None => Err(io::Error::other("the gzip writer has ended")),
        }
    }
}

impl<W: Write + Send + 'static> Write for GzipWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block = match self.empty.recv() {
                Ok(block) => block,
                Err(_) => return Err(io::Error::other("the gzip writer has ended")),
            };
            self.block.reserve_exact(BLOCK_BYTES);
        }
        let taken = data.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&data[..taken]);
        if self.block.len() == BLOCK_BYTES {
            self.send_block()?;
        }
        Ok(taken)
    }

    /// Nothing: a block is compressed when it is full or the writer is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> Drop for GzipWriter<W> {
    fn drop(&mut self) {
        if self.writer.is_some() {
            // Dropped unfinished: whoever did so has an error of their own.
            let _ = self.join();
        }
    }
}

fn work(todo: &Receiver<Job>, recycle: &Sender<Vec<u8>>, level: CompressionLvl) {
    let mut codec = Codec::new(level);
    while let Ok(Job { mut raw, done }) = todo.recv() {
        let member = codec.member(&raw);
        // Fails only when the writer gave up, which it says itself.
        let _ = done.send(member);
        raw.clear();
        // A buffer that does not fit back (the one of an empty input came from elsewhere) is simply freed.
        let _ = recycle.try_send(raw);
    }
}

struct Codec {
    full: Compressor,
    probe: Compressor,
    store: Compressor,
    scratch: Vec<u8>,
}

impl Codec {
    fn new(level: CompressionLvl) -> Self {
        let known = |level| CompressionLvl::new(level).unwrap_or_default();
        Self {
            full: Compressor::new(level),
            probe: Compressor::new(known(PROBE_LEVEL)),
            store: Compressor::new(known(STORE_LEVEL)),
            scratch: Vec::new(),
        }
    }

    /// One gzip member that decodes to `raw`.
    fn member(&mut self, raw: &[u8]) -> Vec<u8> {
        let codec = if self.shrinks(raw) {
            &mut self.full
        } else {
            &mut self.store
        };
        self.scratch.resize(codec.gzip_compress_bound(raw.len()), 0);
        // The bound holds for every input, so it cannot run out of room; were it to, an empty member fails the read-back.
        let length = codec.gzip_compress(raw, &mut self.scratch).unwrap_or(0);
        self.scratch[..length].to_vec()
    }

    fn shrinks(&mut self, raw: &[u8]) -> bool {
        if raw.len() < SAMPLES * SAMPLE_BYTES {
            return true;
        }
        let stride = (raw.len() - SAMPLE_BYTES) / (SAMPLES - 1);
        (0..SAMPLES).any(|index| {
            let sample = &raw[index * stride..index * stride + SAMPLE_BYTES];
            self.scratch
                .resize(self.probe.deflate_compress_bound(sample.len()), 0);
            self.probe
                .deflate_compress(sample, &mut self.scratch)
                .is_ok_and(|length| length < sample.len() - sample.len() / WORTH_ONE_IN)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests_support::gunzip;
    use proptest::prelude::*;

    fn compress(data: &[u8], threads: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), 4, threads).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect()
    }

    #[test]
    fn nothing_becomes_one_empty_member() {
        let packed = compress(b"", 2);
        assert!(!packed.is_empty());
        assert_eq!(gunzip(&packed), b"");
    }

    #[test]
    fn blocks_come_out_in_order() {
        let text: Vec<u8> = (0..400_000)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        assert!(text.len() > 4 * BLOCK_BYTES);
        for threads in [1, 2, 5] {
            assert!(gunzip(&compress(&text, threads)) == text);
        }
    }

    #[test]
    fn what_does_not_shrink_is_stored_at_next_to_no_cost() {
        let data = noise(3 * BLOCK_BYTES + 17);
        let packed = compress(&data, 2);
        assert!(packed.len() < data.len() + data.len() / 1000);
        assert!(gunzip(&packed) == data);
    }

    #[test]
    fn a_full_disk_is_the_writers_error_not_a_hang() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                if self.0 < data.len() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.0 -= data.len();
                Ok(data.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = GzipWriter::new(Full(BLOCK_BYTES), 4, 2).unwrap();
        let data = noise(64 * BLOCK_BYTES);
        let error = match writer.write_all(&data) {
            Err(error) => error,
            Ok(()) => writer.finish().err().unwrap(),
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_dropped_writer_ends_its_threads() {
        let mut writer = GzipWriter::new(io::sink(), 4, 2).unwrap();
        writer.write_all(&noise(5 * BLOCK_BYTES)).unwrap();
        drop(writer);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_bytes_come_back(data in proptest::collection::vec(any::<u8>(), 0..50_000), repeat in 1_usize..30) {
            let data = data.repeat(repeat);
            prop_assert!(gunzip(&compress(&data, 2)) == data);
        }
    }
}
