//! Maps cut into windows of tokens and put together again.

use tch::Tensor;

/// How a map [B, C, H, W] is cut: windows of `window` x `window` tokens, each token made of
/// `cell` x `cell` places of the map.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    pub window: i64,
    pub cell: i64,
    /// Height and width of the map, multiples of window · cell.
    pub size: (i64, i64),
}

impl Windows {
    /// Windows per column and per row.
    fn count(&self) -> (i64, i64) {
        let span = self.window * self.cell;
        (self.size.0 / span, self.size.1 / span)
    }

    /// [B, C, H, W] (channels-last) -> [B·windows, window², cell²·C]; windows and tokens in
    /// raster order, the places of a cell in raster order in front of the channels.
    pub fn cut(&self, map: &Tensor) -> Tensor {
        let (b, c, _, _) = map.size4().expect("a map is [B, C, H, W]");
        let (down, across) = self.count();
        let (window, cell) = (self.window, self.cell);
        map.permute([0, 2, 3, 1])
            .reshape([b, down, window, cell, across, window, cell, c])
            .permute([0, 1, 4, 2, 5, 3, 6, 7])
            .reshape([b * down * across, window * window, cell * cell * c])
    }

    /// The inverse of [`Windows::cut`]; the map comes out channels-last.
    pub fn join(&self, tokens: &Tensor) -> Tensor {
        let (down, across) = self.count();
        let (window, cell) = (self.window, self.cell);
        let size = tokens.size();
        let (b, c) = (size[0] / (down * across), size[2] / (cell * cell));
        tokens
            .reshape([b, down, across, window, window, cell, cell, c])
            .permute([0, 1, 3, 5, 2, 4, 6, 7])
            .reshape([b, self.size.0, self.size.1, c])
            .permute([0, 3, 1, 2])
    }
}
