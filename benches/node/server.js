// What a team writes that needs signaling and nothing more: join, and forward by rooms. No checks, no credentials.
//
// node server.js --addresses-file FILE

import { renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const http = createServer()
const io = new Server(http, { transports: ['websocket', 'polling'], maxHttpBufferSize: 1e6 })
/** For each session id, the names of its participants by their ids. */
const sessions = new Map()

const room = (sessionId, participantId) => `${sessionId}/${participantId}`

io.on('connection', (socket) => {
  socket.on('join-session', ({ sessionId, participantId, participantName = participantId }) => {
    const names = sessions.get(sessionId) ?? new Map()
    sessions.set(sessionId, names.set(participantId, participantName))
    socket.data = { sessionId, participantId }
    socket.join([sessionId, room(sessionId, participantId)])
    const participantNames = Object.fromEntries(names)
    io.to(sessionId).emit('session-joined', { sessionId, participants: [...names.keys()], participantNames })
    socket.to(sessionId).emit('participant-joined', { sessionId, participantId, participantName })
  })

  socket.on('webrtc-ice-candidate', (message) => {
    const { sessionId, to } = message
    socket.to(to ? room(sessionId, to) : sessionId).emit('webrtc-ice-candidate', message)
  })

  socket.on('disconnect', () => {
    const { sessionId, participantId } = socket.data
    const names = sessions.get(sessionId)
    if (!names?.delete(participantId)) return
    io.to(sessionId).emit('participant-left', { sessionId, participantId })
    if (names.size === 0) sessions.delete(sessionId)
  })
})

http.listen(0, '127.0.0.1', () => {
  const file = process.argv[process.argv.indexOf('--addresses-file') + 1]
  const { address, port } = http.address()
  // Whoever finds the file finds all of it.
  writeFileSync(`${file}.unfinished`, JSON.stringify({ http: [`${address}:${port}`] }))
  renameSync(`${file}.unfinished`, file)
})
