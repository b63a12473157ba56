package backup

// EmptySegment makes an empty segment with a right header, for tests outside of the package.
func EmptySegment(s Segment, sys SystemID, size int64) []byte { return segmentBytes(s, sys, size) }
