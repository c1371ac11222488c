//! Reads an input piece by piece. If the input ends too early, the missing bytes read as nothing.

/// The rest of an input.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 at the end.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// The next two bytes as a number, big-endian.
    pub fn short(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// The next `length` bytes, or the rest.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The next piece: two bytes with its length, and its bytes.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.short());
        self.take(length)
    }

    /// All remaining pieces.
    pub fn pieces(mut self) -> Vec<&'a [u8]> {
        std::iter::from_fn(|| (!self.is_empty()).then(|| self.piece())).collect()
    }
}

/// The input from which [`Bytes::pieces`] reads these pieces.
pub fn of_pieces<P: AsRef<[u8]>>(pieces: &[P]) -> Vec<u8> {
    let piece = |piece: &P| {
        let bytes = piece.as_ref();
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    };
    pieces.iter().flat_map(piece).collect()
}
