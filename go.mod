module github.com/covetpy/covet

go 1.26
